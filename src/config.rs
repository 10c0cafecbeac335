//! Typed settings of the three programs.
