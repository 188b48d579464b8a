//! What a machine is called by those who reach a listener on it.
//!
//! Owns the list of names and addresses that our own certificate is for.

use std::net::IpAddr;

/// This machine by name and address, and the names that others know it by.
pub(crate) fn names(listens_on: IpAddr, others: &[String]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()));
    if listens_on.is_unspecified() {
        names.extend(own_addresses().map(|ip| ip.to_string()));
    } else {
        names.push(listens_on.to_string());
    }
    names.extend(others.iter().cloned());
    names.sort();
    names.dedup();
    names
}

/// Addresses of the interfaces. Those that are only good together with an interface mean nothing elsewhere.
fn own_addresses() -> impl Iterator<Item = IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    interfaces.filter_map(|interface| {
        let address = interface.address?;
        match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(four), _) => Some(IpAddr::V4(four.ip())),
            (None, Some(six)) if !six.ip().is_unicast_link_local() => Some(IpAddr::V6(six.ip())),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_there_when_all_are_listened_on_and_each_name_once() {
        let all = names(IpAddr::from([0, 0, 0, 0]), &["chaos.example".to_owned(), "localhost".to_owned()]);
        for name in ["localhost", "127.0.0.1", "::1", "chaos.example"] {
            assert_eq!(all.iter().filter(|one| *one == name).count(), 1, "{name} in {all:?}");
        }
        assert!(!all.contains(&"0.0.0.0".to_owned()));
        assert!(names(IpAddr::from([192, 0, 2, 1]), &[]).contains(&"192.0.2.1".to_owned()));
    }
}
