//! The commands from the command line to the request, and from the answer to the streams and the exit code.

mod edit;
mod help;
mod logs;
mod output;
mod requests;
mod tls;
mod wrong;
