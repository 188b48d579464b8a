//! `soak`: kills our own processes during faults, and looks for what is left.

fn main() -> std::process::ExitCode {
    e2e::soak::main()
}
