//! The program; its deeds are in the library.
fn main() {}
