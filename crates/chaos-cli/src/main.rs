//! The program `chaos`.

fn main() -> std::process::ExitCode {
    chaos_cli::main()
}
