//! What every database has to do (`conformance`), and what is special to each.

pub(crate) mod conformance;
mod format;
mod postgres;
mod safekeeping;
mod sqlite;
