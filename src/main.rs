//! The `edgeprobe` program.

fn main() {}
