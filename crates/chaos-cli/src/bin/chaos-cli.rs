//! The same program under its other name.
fn main() {}
