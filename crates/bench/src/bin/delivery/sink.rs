//! A sink in a process of its own, and what it costs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

/// A running sink. Killed when it is dropped.
pub(crate) struct Sink {
    child: Child,
}

/// What a process holds at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
    /// The most that it has been.
    pub(crate) memory_peak: u64,
    /// Open file descriptors.
    pub(crate) descriptors: u64,
}

impl Sink {
    /// Starts `tidegate sink`.
    pub(crate) fn tidegate(config: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program()?);
        command.args(["sink", "--config"]).arg(config);
        Self::start(command)
    }

    /// Starts any command line, by the shell.
    pub(crate) fn shell(line: &str, variables: &[(&str, String)]) -> anyhow::Result<Self> {
        let mut command = Command::new("sh");
        // `exec`: what is killed is the sink, not the shell.
        command.args(["-c", &format!("exec {line}")]);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Self::start(command)
    }

    fn start(mut command: Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("start the sink")?;
        Ok(Self { child })
    }

    /// Fails if it has ended.
    pub(crate) fn alive(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the sink ended early: {ended:?}");
        Ok(())
    }

    /// What it holds now.
    pub(crate) fn held(&self) -> anyhow::Result<Held> {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(folder.join("status")).context("read a process' status")?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
            let kilobytes = line.trim().trim_end_matches(" kB").parse::<u64>();
            Ok(kilobytes.with_context(|| format!("`{name}` of a process"))? * 1024)
        };
        let descriptors = std::fs::read_dir(folder.join("fd"))?.count() as u64;
        Ok(Held { memory: field("VmRSS:")?, memory_peak: field("VmHWM:")?, descriptors })
    }

    /// Tells it to stop, and waits.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(told.success(), "the sink was not told to stop");
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("TIDEGATE_PROGRAM").map(PathBuf::from);
    let program = match named {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("tidegate"),
    };
    ensure!(program.is_file(), "`{}` is not there; build package `tidegate` first", program.display());
    Ok(program)
}
