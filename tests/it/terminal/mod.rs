//! The dashboard through a real terminal: what one does there, and what it lives through.

mod deeds;
mod screen;
mod surviving;
