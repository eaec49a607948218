//! The `zipwright` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    zipwright::cli::main()
}
