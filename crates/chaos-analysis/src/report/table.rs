//! Aligned tables and wrapped paragraphs for a terminal.
//!
//! Owns widths. It counts characters, not the cells that wide scripts take.

use super::escape::plain;

/// The widest line of a text report, in characters.
pub(super) const COLUMNS_MAX: usize = 100;

/// Narrower than this no column gets.
const COLUMN_MIN: usize = 6;

const INDENT: &str = "  ";
const GAP: &str = "  ";

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Breaks a text into lines of at most `room` characters, between words where that is possible.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(COLUMN_MIN);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in plain(text).split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && width(&line) + 1 + width(word) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if width(&line) == room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// A title of `title_width` characters and a text beside it, wrapped under itself.
pub(super) fn entry(title: &str, title_width: usize, text: &str) -> String {
    let mut out = String::new();
    let room = COLUMNS_MAX - title_width - INDENT.len() - GAP.len();
    for (index, line) in wrap(text, room).iter().enumerate() {
        let title = if index == 0 { title } else { "" };
        let line = format!("{INDENT}{title:<title_width$}{GAP}{line}");
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// Rows with aligned columns; cells that don't fit are wrapped.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths = widths(rows);
    let mut out = String::new();
    for row in rows {
        let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrap(cell, width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        for line in 0..height {
            let parts: Vec<String> = cells
                .iter()
                .zip(widths)
                .map(|(cell, width)| {
                    format!("{:<width$}", cell.get(line).map(String::as_str).unwrap_or_default())
                })
                .collect();
            out += format!("{INDENT}{}", parts.join(GAP)).trim_end();
            out.push('\n');
        }
    }
    out
}

/// As wide as the content, the widest column narrowed until the row fits.
fn widths<const N: usize>(rows: &[[String; N]]) -> [usize; N] {
    let mut widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| width(&plain(&row[column]))).max().unwrap_or_default().max(COLUMN_MIN)
    });
    let room = COLUMNS_MAX - INDENT.len() - GAP.len() * N.saturating_sub(1);
    let total: usize = widths.iter().sum();
    let mut excess = total.saturating_sub(room);
    while excess > 0 {
        let Some(widest) = widths.iter_mut().max() else { break };
        if *widest <= COLUMN_MIN {
            break;
        }
        *widest -= 1;
        excess -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_is_broken_and_nothing_is_lost() {
        assert_eq!(wrap("a bb abcdefghij", 6), ["a bb", "abcdef", "ghij"]);
        assert_eq!(wrap("", 6), [""]);
    }

    #[test]
    fn a_table_fits_whatever_is_in_it() {
        let rows = [["x".repeat(300), "y z ".repeat(90), "w".into()], ["a".into(), "b".into(), "c".into()]];
        let text = table(&rows);
        assert!(text.lines().all(|line| width(line) <= COLUMNS_MAX), "{text}");
        assert_eq!(text.matches('x').count(), 300);
    }
}
