//! `room SECONDS PROGRAM ARGUMENTS…`: runs a program in namespaces of its own.

fn main() -> std::process::ExitCode {
    e2e::room::main()
}
