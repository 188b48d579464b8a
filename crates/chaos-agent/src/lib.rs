//! Being built.

pub mod host;
pub mod sys;
