//! Everything that `ucron` writes: data on stdout, words on stderr.

pub mod clean;
mod out;
pub mod row;
pub mod slot;
pub mod standing;
mod style;
pub mod table;
pub mod tables;
pub mod time;

pub use out::Out;
pub use style::Style;
#[cfg(test)]
pub(super) use style::tests as style_tests;
