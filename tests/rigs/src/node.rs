//! One node: a process, its data directory, its log.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::DirEntryExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::binary;
use crate::kv::Kv;
use crate::lan::Namespace;
use crate::memory::Memory;
use crate::pass::Pass;

/// The contract says five seconds; the rest tells a slow stop from none.
const STOP_LIMIT_S: u64 = 30;
const POLL_MS: u64 = 10;
/// Small, so that the tests do not depend on how full this machine's disk is.
const LOW_MARK_MIB: &str = "64";

#[derive(Debug)]
pub struct Node {
    pub name: String,
    /// Where others reach it.
    pub host: String,
    pub port: u16,
    /// What is run; read at each start.
    pub program: PathBuf,
    /// A command that runs it in other surroundings, and becomes it; empty: none.
    pub launcher: Vec<String>,
    /// Where it runs; `None` beside the test.
    pub network: Option<Namespace>,
    /// Content of its configuration file; read at each start.
    pub config: String,
    /// Beside the port; read at each start.
    pub args: Vec<String>,
    /// Added to an otherwise almost empty environment; read at each start.
    pub env: Vec<(String, String)>,
    /// As whom [`kv`](Node::kv) talks to it; `None` without encryption, as to a node of an open cluster.
    pub pass: Option<Pass>,
    home: PathBuf,
    data: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

/// How a node ended.
#[derive(Debug)]
pub struct Stop {
    pub status: ExitStatus,
    pub took: Duration,
}

impl Node {
    /// Not started yet. Everything it writes is below `home`, but for what `args` say.
    pub fn new(home: &Path, name: &str, port: u16) -> Node {
        let env = vec![("RUSTY_KV_STORAGE_LOW_MARK_MIB".into(), LOW_MARK_MIB.into())];
        let (data, log) = (home.join(name), home.join(format!("{name}.log")));
        let (name, host, program) = (name.into(), "127.0.0.1".into(), binary("server"));
        let (network, config, home, launcher, args) = (None, String::new(), home.into(), Vec::new(), Vec::new());
        Node { name, host, port, program, launcher, network, config, args, env, pass: None, home, data, log, process: None }
    }

    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// With a data directory and a configuration file of its own.
    pub fn start(&mut self) {
        let config = self.home.join(format!("{}.toml", self.name));
        fs::write(&config, &self.config).expect("the scratch directory is writable");
        let mut args: Vec<String> = ["--data-dir", &self.data.to_string_lossy(), "--name", &self.name].map(String::from).into();
        args.extend(["--config".into(), config.to_string_lossy().into_owned()]);
        args.extend(self.args.clone());
        self.start_with(&args);
    }

    /// With the port and these arguments only, in the home directory. Its log goes on where it was.
    pub fn start_with(&mut self, args: &[String]) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log).expect("the scratch directory is writable");
        let mut words = self.launcher.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().expect("a program at least"));
        command.args(words);
        command.arg("--port").arg(self.port.to_string()).args(args).current_dir(&self.home).env_clear();
        command.env("HOME", &self.home).env("RUST_BACKTRACE", "1").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let spawned = match &self.network {
            Some(network) => network.run(|| command.spawn()),
            None => command.spawn(),
        };
        self.process = Some(spawned.expect("the binary starts"));
    }

    /// SIGKILL: nothing that the process knows only by itself survives.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        process.kill().expect("it can be killed");
        let status = process.wait().expect("it can be waited for");
        assert_eq!(status.signal(), Some(9), "{} had ended before it was killed; see {}", self.name, self.log.display());
    }

    /// Sends SIGKILL and does not wait: from now on no thread of it runs, but what one has asked of the kernel goes on.
    pub fn strike(&self) {
        if let Some(process) = &self.process {
            kill_process(Pid::from_child(process), Signal::KILL).expect("a signal can be sent");
        }
    }

    /// SIGKILL for one that may have ended by itself, as when its disk fails.
    pub fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Asks it to stop and waits for that.
    pub fn stop(&mut self, signal: Signal) -> Stop {
        let start = Instant::now();
        let process = self.process.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        kill_process(Pid::from_child(process), signal).expect("a signal can be sent");
        let status = self.wait_for_end(STOP_LIMIT_S);
        Stop { status, took: start.elapsed() }
    }

    /// Waits until it ends by itself.
    pub fn wait_for_end(&mut self, seconds: u64) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < end, "{} still runs after {seconds} s; see {}", self.name, self.log.display());
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
    }

    /// Its exit status, once, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.try_wait().expect("it can be waited for")?;
        self.process = None;
        Some(status)
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name)).id()
    }

    pub fn memory(&self) -> Memory {
        Memory::of(self.pid())
    }

    /// Talks to this node alone: whatever another one would have to answer is an error.
    pub fn kv(&self) -> Kv {
        match &self.pass {
            Some(pass) => Kv::with_pass(&self.address(), pass),
            None => Kv::new(&self.address()),
        }
    }

    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Takes the place of the default one, at the next start.
    pub fn set_data_dir(&mut self, path: &Path) {
        self.data = path.into();
    }

    /// Names of the blobs on its disk, each with its inode: one that was fetched again is another file.
    pub fn blobs(&self) -> BTreeMap<String, u64> {
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        let folders = entries(&self.data.join("blobs")).filter(|folder| folder.file_name().len() == 2);
        let files = folders.flat_map(|folder| entries(&folder.path()).collect::<Vec<_>>());
        files.map(|file| (file.file_name().to_string_lossy().into_owned(), file.ino())).collect()
    }

    /// How often it had its files set aside, as it had forgotten something.
    pub fn set_aside(&self) -> usize {
        let entries = fs::read_dir(&self.data).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("aside.")).count()
    }

    /// Runs the command line as root on its board, over its own socket.
    pub fn told_on_board(&self, args: &[&str]) -> Output {
        let home = self.home.join("root");
        fs::create_dir_all(&home).expect("the scratch directory is writable");
        let mut command = Command::new(binary("client"));
        command.args(args).current_dir(&home).env_clear().env("HOME", &home).env("RUSTY_KV_SOCKET", self.socket());
        command.stdin(Stdio::null());
        let output = match &self.network {
            Some(network) => network.run(|| command.output()),
            None => command.output(),
        };
        output.expect("the binary starts")
    }

    /// There once it is up.
    pub fn socket(&self) -> PathBuf {
        self.data.join("control.sock")
    }

    /// Outside the data directory.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits for a line of the log, for events that nothing else shows.
    pub async fn logged(&self, what: &str, seconds: u64) {
        crate::eventually(seconds, &format!("{} logs \"{what}\"", self.name), || async { self.log_text() }, |log| log.contains(what)).await;
    }

    /// How many lines of the log have this in them.
    pub fn count_logged(&self, what: &str) -> usize {
        self.log_text().lines().filter(|line| line.contains(what)).count()
    }

    pub fn assert_no_panic(&self) {
        let log = self.log_text();
        let panicked = log.lines().find(|line| line.contains("panicked"));
        assert!(panicked.is_none(), "{}: {}", self.log.display(), panicked.unwrap_or_default());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}
