//! What a fault process is told over its control socket.
//!
//! Promises: lines do not depend on how the bytes arrive, and nothing of them is lost; a command that is read and written
//! again is the same command.

use chaos_agent::foreign;

use super::choice_and_rest;

pub(crate) fn check(bytes: &[u8]) {
    let (choice, rest) = choice_and_rest(bytes);
    let lines = foreign::holder_lines([rest]).expect("smaller than the limit");
    let piece = usize::from(choice % 64) + 1;
    assert_eq!(foreign::holder_lines(rest.chunks(piece)).as_ref(), Ok(&lines), "in pieces of {piece}");
    let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let joined: Vec<u8> = lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
    assert_eq!(joined, rest[..whole]);
    for line in lines {
        if let Some(written) = foreign::holder_command(&line) {
            assert_eq!(foreign::holder_command(&written).as_ref(), Some(&written));
        }
    }
}
