//! Makes texts of the outside harmless in each format.
//!
//! Owns the escaping. It never shortens.

/// One line without control characters, nor those that change the direction or the look of the text around them.
pub(super) fn plain(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => line.push(' '),
            c if c.is_control() || is_invisible(c) => line.push('\u{fffd}'),
            c => line.push(c),
        }
    }
    line
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Text for a Markdown paragraph, list item or table cell.
pub(crate) fn markdown(text: &str) -> String {
    let plain = plain(text);
    let plain = plain.trim();
    let mut escaped = String::with_capacity(plain.len() + 8);
    for c in plain.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    // At the start of a block and before a blank, these would make a list; a row of them, a line or a heading.
    let digits = escaped.chars().take_while(char::is_ascii_digit).count();
    let marks = |rest: &str| rest.chars().skip(1).find(|c| !"-+=".contains(*c)).is_none_or(|c| c == ' ');
    if escaped.starts_with(['-', '+', '=']) && marks(&escaped) {
        escaped.insert(0, '\\');
    } else if digits > 0 && escaped[digits..].starts_with(['.', ')']) && marks(&escaped[digits..]) {
        escaped.insert(digits, '\\');
    }
    escaped
}

/// Advice, in which text between backticks is a command of ours.
pub(super) fn markdown_advice(text: &str) -> String {
    let mut parts = text.split('`');
    let mut escaped = markdown_part(parts.next().unwrap_or_default());
    while let (Some(command), Some(rest)) = (parts.next(), parts.next()) {
        escaped += &format!("`{}`{}", plain(command), markdown_part(rest));
    }
    escaped
}

/// As [`markdown`], with the blanks at both ends kept.
fn markdown_part(text: &str) -> String {
    let blank = |at_end: bool| {
        let has = if at_end { text.ends_with(' ') } else { text.starts_with(' ') };
        if has && !text.trim().is_empty() { " " } else { "" }
    };
    if text.trim().is_empty() {
        return text.to_owned();
    }
    format!("{}{}{}", blank(false), markdown(text), blank(true))
}

/// An identifier as code, or escaped when code could not hold it.
pub(crate) fn code(text: &str) -> String {
    let plain = plain(text);
    if plain.is_empty() || plain.contains(['`', '|']) || plain.trim() != plain {
        markdown(&plain)
    } else {
        format!("`{plain}`")
    }
}

/// Text that XML 1.0 may hold; quoting is the writer's.
pub(super) fn xml(text: &str) -> String {
    plain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mred\u{7}\nb\u{202e}c"), "a\u{fffd}[31mred\u{fffd} b\u{fffd}c");
    }

    #[test]
    fn text_can_be_no_markdown() {
        assert_eq!(markdown("<b>|x|*y*[z](u)"), "&lt;b&gt;\\|x\\|\\*y\\*\\[z\\](u)");
        assert_eq!(markdown("- item"), "\\- item");
        assert_eq!(markdown("---"), "\\---");
        assert_eq!(markdown("12. item"), "12\\. item");
        assert_eq!(markdown("+0.527s"), "+0.527s");
        assert_eq!(code("a`b"), "a\\`b");
        assert_eq!(code("pod_kill"), "`pod_kill`");
        assert_eq!(markdown_advice("run `chaos stop a_b`; it *ends*"), "run `chaos stop a_b`; it \\*ends\\*");
    }
}
