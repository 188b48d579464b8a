//! A wire between an agent and its server that can be cut: connections over it break, and none is made until it is
//! mended.
//!
//! Owns its sockets and threads. It never looks into what goes over it, and never delays it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

/// Connections that a wire remembers; more than that at a time are not carried.
const CONNECTIONS_MAX: usize = 64;

/// A wire to one address. Its threads end with the process.
#[derive(Debug, Clone)]
pub struct Wire {
    address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    is_cut: bool,
    ends: Vec<TcpStream>,
}

impl Wire {
    /// Lays one from any free port of the loopback interface.
    ///
    /// # Errors
    /// No port is free.
    pub fn lay(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("laying a wire")?;
        let wire = Self { address: listener.local_addr()?, inside: Arc::default() };
        let inside = Arc::clone(&wire.inside);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Whoever dials sees that nobody is there, as it would without the wire.
                let _ = carry(near, to, &inside);
            }
        });
        Ok(wire)
    }

    /// Where to dial.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection, and every new one until it is mended.
    pub fn cut(&self) {
        let mut inside = lock(&self.inside);
        inside.is_cut = true;
        for end in inside.ends.drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Connections can be made again.
    pub fn mend(&self) {
        lock(&self.inside).is_cut = false;
    }
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carry(near: TcpStream, to: SocketAddr, inside: &Mutex<Inside>) -> io::Result<()> {
    if lock(inside).is_cut {
        return Ok(());
    }
    let far = TcpStream::connect(to)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    {
        let mut inside = lock(inside);
        inside.ends.retain(|end| end.peer_addr().is_ok());
        if inside.is_cut || inside.ends.len() >= 2 * CONNECTIONS_MAX {
            return Ok(());
        }
        inside.ends.extend([near.try_clone()?, far.try_clone()?]);
    }
    pour(near.try_clone()?, far.try_clone()?);
    pour(far, near);
    Ok(())
}

/// Copies one way until that way ends, and then ends the other.
fn pour(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn speaks(wire: &Wire, server: &TcpListener) -> (TcpStream, TcpStream) {
        let mut near = TcpStream::connect(wire.address()).expect("the wire takes it");
        let (mut far, _) = server.accept().expect("the server takes it");
        near.write_all(b"hello").expect("written");
        let mut heard = [0; 5];
        far.read_exact(&mut heard).expect("heard");
        assert_eq!(&heard, b"hello");
        (near, far)
    }

    #[test]
    fn a_wire_that_is_cut_breaks_what_there_is_and_takes_nothing_until_it_is_mended() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let wire = Wire::lay(server.local_addr().expect("an address")).expect("a wire");
        let (mut near, mut far) = speaks(&wire, &server);
        wire.cut();
        assert!(matches!(near.read(&mut [0; 1]), Ok(0) | Err(_)), "the near end is broken");
        assert!(matches!(far.read(&mut [0; 1]), Ok(0) | Err(_)), "the far end is broken");
        let mut refused = TcpStream::connect(wire.address()).expect("the port is there");
        assert!(matches!(refused.read(&mut [0; 1]), Ok(0) | Err(_)), "nothing is carried");
        wire.mend();
        let _ends = speaks(&wire, &server);
    }
}
