//! The command line of heirloom; all of it is in [`heirloom::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    heirloom::cli::main()
}
