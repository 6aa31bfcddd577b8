//! The sinks: `tidegate sink` as processes of one group.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::Signal;

use crate::process;

/// How long a sink may take to end when it is asked to: it finishes its batches first.
const STOP_MAX: Duration = Duration::from_secs(60);

/// One sink, running or not.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) name: String,
    program: PathBuf,
    config: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
}

impl Sink {
    /// A sink that is not running yet.
    pub(crate) fn new(name: impl Into<String>, program: &Path, config: &Path, folder: &Path) -> Self {
        let (program, config, folder) = (program.to_owned(), config.to_owned(), folder.to_owned());
        Self { name: name.into(), program, config, folder, child: None }
    }

    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(&self.program)
            .args(["sink", "--output", "json", "--log-format", "json", "--config"])
            .arg(&self.config)
            .env("TIDEGATE_LOG", "info")
            .stdin(Stdio::null())
            .stdout(File::create(self.says())?)
            .stderr(log)
            .spawn();
        self.child = Some(child.with_context(|| format!("start `{}`", self.program.display()))?);
        Ok(())
    }

    /// SIGKILL: nothing is finished, nothing is said.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::kill(&mut child);
        }
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().with_context(|| format!("{} is not running", self.name))?;
        process::signal(child, signal)
    }

    /// SIGTERM, and a good end.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        // Before it has said so it does not listen to signals.
        while self.child.is_some() && self.api().is_none() && began.elapsed() < STOP_MAX {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let Some(mut child) = self.child.take() else { return Ok(()) };
        process::signal(&child, Signal::TERM)?;
        let began = Instant::now();
        while began.elapsed() < STOP_MAX {
            if let Some(status) = child.try_wait()? {
                let (name, told) = (&self.name, process::told(&self.log()));
                ensure!(status.success(), "{name} ended with {status} when it was stopped: {told}");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let stacks = self.folder.join(format!("{}.stacks", self.name));
        process::stacks(&child, &stacks);
        self.child = Some(child);
        anyhow::bail!("{} has not stopped within {STOP_MAX:?}: {}", self.name, stacks.display())
    }

    /// How it ended, if it did so by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Where its own interface listens, once it does.
    pub(crate) fn api(&self) -> Option<String> {
        let line = std::fs::read_to_string(self.says()).ok()?;
        let said: serde_json::Value = serde_json::from_str(line.lines().next()?).ok()?;
        Some(said["api"].as_str()?.trim_start_matches("http://").to_owned())
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn says(&self) -> PathBuf {
        self.folder.join(format!("{}.out", self.name))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.kill();
    }
}
