//! The program `chaos` under its other name.

fn main() -> std::process::ExitCode {
    chaos_cli::main()
}
