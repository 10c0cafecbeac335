//! The built `ucron-keeper`, driven through `exec`'s client: what processes see, how they end, what is left of
//! them, and what a keeper's death changes. As root the runs are those of `nobody`; as an ordinary user they are
//! the caller's own, and what needs root says so.

mod daemons;
mod ending;
mod hostile;
mod privileges;
mod starting;
mod surviving;
mod world;
