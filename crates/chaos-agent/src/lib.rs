//! Being built.

pub mod sys;
