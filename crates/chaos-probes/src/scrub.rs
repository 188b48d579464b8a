//! Takes secrets out of texts that are kept and shown.
//!
//! Owns what looks like one: the user part of a URL, the value of a name such as `token` or `password`, and credentials
//! of an `Authorization` header. It takes out too much rather than too little, and never knows a secret by its value.

/// What stands for a secret, as in reports.
const HIDDEN: &str = "REDACTED";
/// A name with one of these in it names a secret.
const PARTS: [&str; 7] = ["token", "secret", "passw", "passphrase", "pwd", "credential", "apikey"];
/// A name with one of these as a word of its own names a secret.
const WORDS: [&str; 6] = ["key", "pass", "auth", "sig", "signature", "session"];
/// A name with one of these in it is of a header whose value goes to the end of the line.
const HEADERS: [&str; 2] = ["authorization", "cookie"];
/// Authorization schemes whose credentials are the next word.
const SCHEMES: [&str; 3] = ["bearer", "basic", "digest"];
/// The shortest word after a scheme that is taken for credentials: "basic idea" is none.
const CREDENTIALS_CHARS_MIN: usize = 8;

/// The text without secrets.
pub(crate) fn scrub(text: &str) -> String {
    without_values(&without_credentials(&without_users(text)))
}

/// `scheme://user:password@host` without the part before the `@`.
fn without_users(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, authority) = rest.split_at(at + "://".len());
        clean.push_str(before);
        let end = authority.find(|c: char| c.is_whitespace() || "/?#\"'<>`".contains(c));
        let (host, behind) = authority.split_at(end.unwrap_or(authority.len()));
        match host.rsplit_once('@') {
            Some((_, host)) => clean.extend([HIDDEN, "@", host]),
            None => clean.push_str(host),
        }
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

/// `name=value`, `name: value` and `"name":"value"` without the value, where the name is one of a secret.
fn without_values(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (name, behind) = rest.split_at(at);
        let (sign, value) = behind.split_at(1);
        clean.extend([name, sign]);
        rest = value;
        let Some(secret) = Secret::named(name, sign) else { continue };
        let (opening, value) = value.split_at(value.len() - value.trim_start_matches([' ', '"', '\'']).len());
        let quoted = opening.contains(['"', '\'']);
        let end = value.find(|c| secret.ends_at(c, quoted)).unwrap_or(value.len());
        if end > 0 {
            clean.extend([opening, HIDDEN]);
            rest = &value[end..];
        }
    }
    clean.push_str(rest);
    clean
}

/// What a name says of the value behind it.
#[derive(Clone, Copy)]
enum Secret {
    Value,
    Header,
}

impl Secret {
    /// What stands before a `=` or `:`, when it ends with the name of a secret; `/etc/passwd:` is a path.
    fn named(before: &str, sign: &str) -> Option<Self> {
        let before = before.trim_end_matches([' ', '"', '\'']);
        let start = before.rfind(|c: char| !(c.is_alphanumeric() || "_-.%$".contains(c))).unwrap_or(0);
        if sign == ":" && before[start..].starts_with('/') {
            return None;
        }
        let name = before[start..].trim_start_matches(|c: char| !c.is_alphanumeric());
        let plain = name.to_lowercase().replace(['-', '_', '.'], "");
        if HEADERS.iter().any(|part| plain.contains(part)) {
            return Some(Self::Header);
        }
        let is_one = PARTS.iter().any(|part| plain.contains(part))
            || words(name).any(|word| WORDS.contains(&word.as_str()));
        is_one.then_some(Self::Value)
    }

    fn ends_at(self, c: char, quoted: bool) -> bool {
        match self {
            _ if quoted => "\"'".contains(c),
            Self::Header => c == '\n',
            Self::Value => c.is_whitespace() || "\"'&;,)]}>`".contains(c),
        }
    }
}

/// The words of `snake_case`, `kebab-case` and `camelCase` names.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && after_small) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        after_small = c.is_lowercase();
    }
    words.into_iter()
}

/// `Bearer …`, `Basic …` without what follows.
fn without_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut after_scheme = false;
    for part in text.split_inclusive(char::is_whitespace) {
        let word = part.trim_end().trim_matches(['"', '\'', ',', ';', '(', ')']);
        if after_scheme && word.chars().count() >= CREDENTIALS_CHARS_MIN {
            clean.push_str(&part.replace(word, HIDDEN));
        } else {
            clean.push_str(part);
        }
        let last = word.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        after_scheme = SCHEMES.iter().any(|scheme| last.eq_ignore_ascii_case(scheme));
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (text, wanted) in [
            ("cannot connect to http://ada:s3cr3t@host:80/x", "cannot connect to http://REDACTED@host:80/x"),
            ("http://s3cr3t@h and ftp://a:s3@cr3t@h?x=1", "http://REDACTED@h and ftp://REDACTED@h?x=1"),
            ("https://h/p?a=1&token=s3cr3t&b=2", "https://h/p?a=1&token=REDACTED&b=2"),
            ("?api_key=s3cr3t", "?api_key=REDACTED"),
            ("?apiKey=s3cr3t#x", "?apiKey=REDACTED"),
            ("?X-Amz-Signature=s3cr3t&X-Amz-Date=1", "?X-Amz-Signature=REDACTED&X-Amz-Date=1"),
            ("key=s3cr3t, next", "key=REDACTED, next"),
            ("PASSWORD=s3cr3t", "PASSWORD=REDACTED"),
            ("db_password: s3cr3t\nport: 5", "db_password: REDACTED\nport: 5"),
            (r#"$.a is {"accessToken":"s3cr3t s3cr3t","n":1}"#, r#"$.a is {"accessToken":"REDACTED","n":1}"#),
            ("{'client_secret': 's3cr3t'}", "{'client_secret': 'REDACTED'}"),
            ("Authorization: Bearer s3cr3t-s3cr3t", "Authorization: REDACTED"),
            ("\"authorization\": \"Digest a=s3cr3t, b=s3cr3t\", c", "\"authorization\": \"REDACTED\", c"),
            ("sent Bearer s3cr3t-s3cr3t to it", "sent Bearer REDACTED to it"),
            (r#""basic czNjcjN0OnMzY3IzdA==", refused"#, r#""basic REDACTED", refused"#),
            ("Authorization: Digest a=\"s3cr3t\", b=\"s3cr3t\"", "Authorization: REDACTED"),
            ("Cookie: session=s3cr3t; lang=de\nHost: a", "Cookie: REDACTED\nHost: a"),
            ("é=1 ü: 2 ://ä@h password=ä", "é=1 ü: 2 ://REDACTED@h password=REDACTED"),
        ] {
            assert_eq!(scrub(text), wanted);
            assert_eq!(scrub(wanted), wanted, "twice is once");
        }
    }

    #[test]
    fn what_is_no_secret_is_left_as_it_is() {
        for text in [
            "",
            "status 500, expected 200 to 399",
            "cannot connect to 127.0.0.1:80: Connection refused (os error 111)",
            "http://host/a@b?monkey=3&turkey=4#x@y",
            "the query gives 2 series, not one",
            "bad_data: 1:5: parse error: unexpected end of input",
            "a basic idea, bearer of news",
            "keys: 3",
            "cannot start /etc/passwd: Permission denied",
            "token=",
            "://",
        ] {
            assert_eq!(scrub(text), text);
        }
    }
}
