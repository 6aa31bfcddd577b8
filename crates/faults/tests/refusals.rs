//! A run that cannot be is refused before anything is started.

use std::process::Command;

#[track_caller]
fn refused(args: &[&str], why: &str) {
    let folder = std::env::temp_dir().join("tidegate-faults-refused");
    let mut program = Command::new(env!("CARGO_BIN_EXE_tidegate-faults"));
    program.env_clear().args(args).arg("--folder").arg(&folder);
    let ran = program.output().expect("the program that was just built");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && told.contains(why), "{args:?}: {told}");
    assert!(!folder.exists());
}

#[test]
fn a_run_that_makes_no_sense_is_refused() {
    refused(&["--minutes", "0"], "MINUTES is 0; expected 0.1 to 600");
    refused(&["--rate", "0"], "RATE is 0; expected 1 to 5000");
    refused(&["--tidegate", "absent"], "build it: cargo build -p tidegate");
}
