//! Processes that are killed, stopped and continued.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// SIGKILL, and waits until it is gone.
pub(crate) fn kill(child: &mut Child) {
    // Errors say that it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Sends a signal to a child that has not been waited for.
pub(crate) fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    kill_process(Pid::from_child(child), signal).with_context(|| format!("send {signal:?}"))
}

/// SIGKILL to a process that is somebody else's child. One that has ended already is no error.
pub(crate) fn kill_id(id: u32) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Writes down where each thread of a process stands, if there is a debugger to ask: a process that hangs can
/// only be understood while it does.
pub(crate) fn stacks(child: &Child, to: &Path) {
    let Ok(file) = std::fs::File::create(to) else { return };
    let mut gdb = Command::new("gdb");
    gdb.args(["-batch", "-nx", "-ex", "thread apply all bt 40", "-p", &child.id().to_string()]);
    // Without a debugger the file stays empty.
    let _ = gdb.stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).status();
}

/// The last lines of a log.
pub(crate) fn told(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
