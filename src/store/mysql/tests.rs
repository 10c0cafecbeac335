//! What only MySQL promises.
