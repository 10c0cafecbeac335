//! Things for tests: views as a center would send them, and a center that answers from a table over a stream
//! in memory, with the frames of the real one.
