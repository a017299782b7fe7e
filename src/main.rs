//! The `edgeprobe` program: the library's command line, and nothing else.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    edgeprobe::cli::run().await
}
