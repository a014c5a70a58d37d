//! The grammar of the command line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgGroup, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::exit::Exit;
use crate::meta::Condition;

/// Names that later versions give a meaning; until then nobody else may.
const RESERVED: [&str; 2] = ["doctor", "powertest"];

const AFTER_HELP: &str = "\
Exit codes:
  0  done                              5  rejected
  1  key absent or condition false     6  verification failed
  2  usage                             7  local file error
  3  not executed, safe to retry      10  degraded (status --check), must not be stopped (can-stop)
  4  outcome unknown                  11  unavailable (status --check)

~/.config/rusty-kv/client.toml may set addr, cluster, timeout, output and quiet.";

/// Apart from what a command has of its own, of which there is little.
const GLOBAL: &str = "Global options";

#[derive(Parser)]
#[command(
    name = "rusty-kv",
    bin_name = "rusty-kv",
    version,
    about = "Stores keys and images on a cluster of small boards",
    after_help = AFTER_HELP,
    max_term_width = 120
)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Args)]
#[command(next_help_heading = GLOBAL)]
pub struct Global {
    /// Nodes to ask: host, host:port, URL or a comma list; any one of the cluster will do [default: found by mDNS]
    #[arg(long, global = true, value_name = "HOST", env = "RUSTY_KV_ADDR")]
    pub addr: Option<String>,
    /// The cluster meant, by name or by the beginning of its id, where several are in sight
    #[arg(long, global = true, value_name = "NAME", env = "RUSTY_KV_CLUSTER")]
    pub cluster: Option<String>,
    /// How long to try; for uploads and downloads, how long without progress [default: 10s; 30s without progress; wait: 30s; member: 5m]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// The form of the output [default: text]
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// No messages and no progress bar; errors are still told
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Store a value
    #[command(visible_alias = "put")]
    Set(Set),
    /// Write a value to stdout, byte for byte
    Get(Get),
    /// Remove keys
    #[command(visible_alias = "rm")]
    Delete(Delete),
    /// List keys in byte order, unprintable bytes as \xNN
    #[command(visible_alias = "ls")]
    List(List),
    /// Store a file
    Upload(Upload),
    /// Write a value to a file, verified before the name appears
    Download(Download),
    /// Show every member and how the cluster is
    Status(Status),
    /// Show every node that mDNS sees
    Discover,
    /// Wait until the cluster serves
    Wait(Wait),
    /// Show and change who belongs to the cluster
    #[command(subcommand)]
    Member(Member),
    /// Choose who leads
    #[command(subcommand)]
    Leader(Leader),
    /// Cut the logs of the nodes as far as they are no longer needed
    Compact(Compact),
    /// Exit with 0 if the cluster goes on serving while a node is stopped, else with 10
    CanStop(CanStop),
    /// Make a cluster, join one, get one back
    #[command(subcommand)]
    Cluster(Cluster),
    /// Let this user in to a closed cluster, with a token
    Login(Login),
    /// Make, show and revoke tokens, by which boards and users come in
    #[command(subcommand)]
    Token(Token),
    /// Show the cluster's own authority, and exchange it for a new one
    #[command(subcommand)]
    Ca(Ca),
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv login [OPTIONS] <TOKEN>")]
pub struct Login {
    /// As `rusty-kv token new --client` printed it
    pub token: String,
}

#[derive(Subcommand)]
pub enum Token {
    /// Print a new token, and the command to use it with
    New(NewToken),
    /// Show which tokens there are; their secrets are known to nobody any more
    Show,
    /// Let nobody in by it any more
    Revoke(RevokeToken),
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv token new [OPTIONS]")]
pub struct NewToken {
    /// For users; otherwise it is for boards
    #[arg(long)]
    pub client: bool,
    /// What they may do [default: write]
    #[arg(long, value_enum, default_value_t, requires = "client", hide_default_value = true)]
    pub role: Role,
    /// Only with keys that begin with this
    #[arg(long, requires = "client", value_parser = bytes())]
    pub prefix: Option<Bytes>,
    /// How long it is good for: 24h, 30m, ... [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "24h", hide_default_value = true)]
    pub ttl: Option<Duration>,
    /// How often it can be used [default: any number of times]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Read,
    #[default]
    Write,
    Admin,
}

#[derive(Subcommand)]
pub enum Ca {
    /// Show which authorities are trusted, and by which nodes
    Show,
    /// Begin to trust a new authority; once the logins in use have heard, finish
    Rotate(RotateCa),
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv ca rotate [OPTIONS]")]
pub struct RotateCa {
    /// Trust the old one no more, as soon as every node shows certificates of the new one
    #[arg(long)]
    pub finish: bool,
    /// Finish also if nodes do not answer; they must be wiped and join anew
    #[arg(long, requires = "finish")]
    pub force: bool,
}

#[derive(clap::Args)]
pub struct RevokeToken {
    /// As `rusty-kv token show` lists it
    pub id: String,
}

/// NODE is a node's name or the beginning of its id.
#[derive(Subcommand)]
pub enum Member {
    /// Show the members, and the nodes that wait to become one
    List,
    /// Let a pending node in; it becomes a voter once it has caught up
    Add(AddMember),
    /// Make a learner a voter once it has caught up
    Promote(PromoteMember),
    /// Put a node in the place of a voter, which need not be up
    Replace(ReplaceMember),
    /// Take a node out of the cluster for good; its id never comes back
    Remove(RemoveMember),
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv member add [OPTIONS] <NODE>")]
pub struct AddMember {
    /// A pending node or a learner, by its name or the beginning of its id
    pub node: String,
    /// It receives everything and is not counted, until it is promoted
    #[arg(long)]
    pub learner: bool,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv member promote [OPTIONS] <NODE>")]
pub struct PromoteMember {
    /// A learner, by its name or the beginning of its id
    pub node: String,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv member replace [OPTIONS] <OLD> <NEW>")]
pub struct ReplaceMember {
    /// A voter, by its name or the beginning of its id
    pub old: String,
    /// A pending node or a learner
    pub new: String,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv member remove [OPTIONS] <NODE>")]
pub struct RemoveMember {
    /// A member, by its name or the beginning of its id
    pub node: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(clap::Args)]
pub struct Patience {
    /// Wait until the change is complete, which is the default
    #[arg(long)]
    pub wait: bool,
    /// Return as soon as the cluster has taken the change
    #[arg(long, conflicts_with = "wait")]
    pub no_wait: bool,
}

#[derive(Subcommand)]
pub enum Leader {
    /// Hand the lead over
    Transfer(Transfer),
}

#[derive(clap::Args)]
pub struct Transfer {
    /// A voter, by its name or the beginning of its id [default: the best fit]
    pub node: Option<String>,
}

#[derive(clap::Args)]
pub struct Compact {
    /// Only this node, by its name or the beginning of its id
    #[arg(long)]
    pub node: Option<String>,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv can-stop [OPTIONS] <NODE>")]
pub struct CanStop {
    /// A member, by its name or the beginning of its id
    pub node: String,
}

#[derive(Subcommand)]
pub enum Cluster {
    /// Make a closed cluster of this board, which others can join; prints the line for them
    Create(CreateCluster),
    /// Take this board into a closed cluster
    Join(JoinCluster),
    /// Start a new cluster from what this machine's node still holds; ends with the exit code of rusty-kvd, which does the work
    Recover(Recover),
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv cluster create [OPTIONS]")]
pub struct CreateCluster {
    /// Boards that join become voters until there are so many
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=7))]
    pub voters: u32,
    /// The node's own socket [default: where its service has it]
    #[arg(long, value_name = "PATH", env = "RUSTY_KV_SOCKET")]
    pub socket: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv cluster join [OPTIONS] <TOKEN>")]
pub struct JoinCluster {
    /// As `rusty-kv cluster create` or `rusty-kv token new` printed it; members are found by mDNS, or at --addr
    pub token: String,
    /// The node's own socket [default: where its service has it]
    #[arg(long, value_name = "PATH", env = "RUSTY_KV_SOCKET")]
    pub socket: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv cluster recover [OPTIONS] --accept-loss")]
pub struct Recover {
    /// What only the lost nodes held is lost
    #[arg(long, required = true)]
    pub accept_loss: bool,
    /// The cluster's name, instead of being asked for it
    #[arg(short, long, value_name = "NAME")]
    pub yes: Option<String>,
    /// Also if another node in reach holds more than the one of this machine; what it holds beyond is lost
    #[arg(long)]
    pub even_if_behind: bool,
    /// Where the node of this machine keeps its data [default: as rusty-kvd has it]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(
    override_usage = "rusty-kv set [OPTIONS] <KEY> <VALUE>\n       rusty-kv set [OPTIONS] <KEY> -\n       rusty-kv set [OPTIONS] <KEY> --file <FILE>"
)]
pub struct Set {
    /// 1 to 4096 bytes
    #[arg(value_parser = bytes())]
    pub key: Bytes,
    /// The value, or - for stdin
    #[arg(value_parser = bytes(), allow_hyphen_values = true, required_unless_present = "file")]
    pub value: Option<Bytes>,
    /// Take the value from a file
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub condition: When,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv upload [OPTIONS] <KEY> <FILE>")]
pub struct Upload {
    /// 1 to 4096 bytes
    #[arg(value_parser = bytes())]
    pub key: Bytes,
    /// The file, or - for stdin
    pub file: PathBuf,
    #[command(flatten)]
    pub condition: When,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv get [OPTIONS] <KEY>")]
pub struct Get {
    /// The key to read
    #[arg(value_parser = bytes())]
    pub key: Bytes,
    /// Write binary values to a terminal too
    #[arg(long)]
    pub force: bool,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv download [OPTIONS] <KEY> <FILE>")]
pub struct Download {
    /// The key to read
    #[arg(value_parser = bytes())]
    pub key: Bytes,
    /// The file, or - for stdout
    pub file: PathBuf,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv delete [OPTIONS] <KEY>...\n       rusty-kv delete [OPTIONS] --prefix <PREFIX>")]
pub struct Delete {
    /// The keys to remove
    #[arg(value_parser = bytes(), required_unless_present = "prefix", value_name = "KEY")]
    pub keys: Vec<Bytes>,
    /// Remove all keys that begin with this, after showing their number and asking
    #[arg(long, value_parser = bytes(), conflicts_with = "keys")]
    pub prefix: Option<Bytes>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Allow an empty prefix: every key there is
    #[arg(long, conflicts_with = "keys")]
    pub all: bool,
    #[command(flatten)]
    pub condition: When,
}

#[derive(clap::Args)]
#[command(override_usage = "rusty-kv list [OPTIONS] [PREFIX]")]
pub struct List {
    /// Only keys that begin with this
    #[arg(value_parser = bytes())]
    pub prefix: Option<Bytes>,
    /// At most so many keys
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub limit: Option<u64>,
    /// Start behind this key
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub after: Option<Bytes>,
    /// Size, modify revision and create revision before each key
    #[arg(short, long, conflicts_with = "null")]
    pub long: bool,
    /// Raw keys, a zero byte behind each
    #[arg(short = '0', long)]
    pub null: bool,
}

#[derive(clap::Args)]
pub struct Status {
    /// Exit with 0 if healthy, 10 if degraded, 11 if unavailable
    #[arg(long)]
    pub check: bool,
}

#[derive(clap::Args)]
#[command(group = ArgGroup::new("until").required(true), override_usage = "rusty-kv wait [OPTIONS] <--ready|--healthy>")]
pub struct Wait {
    /// Until a linearizable read succeeds
    #[arg(long, group = "until")]
    pub ready: bool,
    /// Until every member is up and well
    #[arg(long, group = "until")]
    pub healthy: bool,
}

#[derive(clap::Args)]
pub struct When {
    /// Only if there is no such key
    #[arg(long, conflicts_with = "if_revision")]
    pub if_absent: bool,
    /// Only if the key still has this modify revision
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub if_revision: Option<u64>,
}

/// Any bytes the system can pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl When {
    pub fn condition(&self) -> Option<Condition> {
        match (self.if_absent, self.if_revision) {
            (true, _) => Some(Condition::Absent),
            (false, revision) => revision.map(Condition::Revision),
        }
    }
}

/// Reads a command line. `Err` once everything is said: help, version, or what is wrong.
pub fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Args, Exit> {
    let matches = command().try_get_matches_from(argv).and_then(|matches| match reserved(&matches) {
        Some(words) => {
            Err(command().error(clap::error::ErrorKind::InvalidSubcommand, format!("`{words}` is not available yet in this version")))
        }
        None => Args::from_arg_matches(&matches),
    });
    matches.map_err(|error| {
        // The reader of the help may have gone; there is nobody left to tell.
        let _told = error.print();
        if error.use_stderr() { Exit::Usage } else { Exit::Done }
    })
}

/// The reserved name on a command line, with the verb behind it.
fn reserved(matches: &ArgMatches) -> Option<String> {
    let (name, rest) = matches.subcommand()?;
    RESERVED.contains(&name).then(|| {
        let mut words = rest.get_many::<OsString>("rest").unwrap_or_default().map(|word| word.to_string_lossy());
        let verb = words.next().filter(|word| !word.starts_with('-')).map(|word| format!(" {}", word.escape_debug()));
        format!("{name}{}", verb.unwrap_or_default())
    })
}

fn command() -> clap::Command {
    let rest = Arg::new("rest").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true).value_parser(OsStringValueParser::new());
    let hidden = |name| clap::Command::new(name).hide(true).disable_help_flag(true).arg(rest.clone());
    Args::command().subcommands(RESERVED.map(hidden))
}

fn bytes() -> impl TypedValueParser<Value = Bytes> {
    OsStringValueParser::new().map(|text| Bytes(text.into_vec()))
}

/// `10s`, `500ms`, `2m`, `1h`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let ms_each = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{unit}` is no unit; write for instance 500ms, 10s, 2m or 1h")),
    };
    let number: u32 = number.parse().map_err(|_| "write for instance 500ms, 10s, 2m or 1h".to_string())?;
    let ms = u64::from(number) * ms_each;
    match ms {
        0 => Err("it must be more than nothing".into()),
        1..=604_800_000 => Ok(Duration::from_millis(ms)),
        _ => Err("it must be at most a week".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("7", 7_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "-1s", "1.5s", "10x", "0", "0ms", "99999999999s", "200h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    fn set(words: &[&str]) -> Set {
        let argv = ["rusty-kv", "set"].iter().chain(words).map(OsString::from);
        match parse(argv) {
            Ok(Args { verb: Verb::Set(set), .. }) => set,
            _ => panic!("{words:?}"),
        }
    }

    #[test]
    fn values_may_look_like_options() {
        for (words, value) in [
            (&["k", "-5"][..], "-5"),
            (&["k", ""], ""),
            (&["k", "-x y"], "-x y"),
            (&["k", "--", "--quiet"], "--quiet"),
            (&["-q", "k", "-5", "--if-absent"], "-5"),
            (&["k", "-5", "-o", "json"], "-5"),
            (&["k", "-o", "json", "-5"], "-5"),
        ] {
            assert_eq!(set(words).value, Some(Bytes(value.into())), "{words:?}");
        }
        assert_eq!(set(&["k", "--file", "f"]).file, Some("f".into()));
        assert_eq!(set(&["k", "v", "--if-revision", "7"]).condition.condition(), Some(Condition::Revision(7)));
    }
}
