//! The `rusty-kv` command: settings, one file a verb, exit codes.
//!
//! stdout carries data only; messages, progress and warnings go to stderr. Nothing here decides about retries or outcomes, that is the library.

mod args;
mod ask;
mod asked;
mod bar;
mod ca;
mod can_stop;
mod cluster;
mod compact;
mod console;
mod delete;
mod discover;
mod exit;
mod get;
mod leader;
mod list;
mod login;
mod look;
mod member;
mod member_list;
mod own_node;
mod recover;
mod set;
mod settings;
mod socket;
mod spinner;
mod status;
mod token;
mod wait;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::admission;
use crate::client::{Client, Targets};
use crate::error::Error;
use crate::login::Logins;
use args::{Ca, Cluster, Leader, Member, Token, Verb};
use console::Console;
use exit::Exit;
use proto::v1::Reason;
use settings::Settings;

const LAST_ATTEMPT_MS: u64 = 250;

/// Runs the command line `argv` (with the program's name first) and returns the exit code.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> u8 {
    env_logger::Builder::new().filter_level(log::LevelFilter::Off).parse_default_env().init();
    let args = match args::parse(argv) {
        Ok(args) => args,
        Err(exit) => return exit.code(),
    };
    let settings = match Settings::resolve(&args.global) {
        Ok(settings) => settings,
        Err(error) => return Console::new(args.global.output.unwrap_or_default(), false).fail(&error).code(),
    };
    let console = Console::new(settings.output, settings.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return console.fail(&Error::file("cannot start threads", error)).code(),
    };
    let exit = runtime.block_on(async {
        tokio::select! {
            done = run(args.verb, &settings, &console) => done.unwrap_or_else(|error| console.fail(&error)),
            _ = tokio::signal::ctrl_c() => console.interrupted(),
        }
    });
    // A read of stdin may be blocked in a thread for ever; nobody waits for it.
    runtime.shutdown_background();
    exit.code()
}

async fn run(verb: Verb, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    match verb {
        Verb::Set(args) => set::set(args, settings, console).await,
        Verb::Upload(args) => set::upload(args, settings, console).await,
        Verb::Get(args) => get::get(args, settings, console).await,
        Verb::Download(args) => get::download(args, settings, console).await,
        Verb::Delete(args) => delete::delete(args, settings, console).await,
        Verb::List(args) => list::list(args, settings, console).await,
        Verb::Status(args) => status::status(args, settings, console).await,
        Verb::Discover => discover::discover(settings, console).await,
        Verb::Wait(args) => wait::wait(args, settings, console).await,
        Verb::Member(Member::List) => member_list::list(settings, console).await,
        Verb::Member(Member::Add(args)) => member::add(args, settings, console).await,
        Verb::Member(Member::Promote(args)) => member::promote(args, settings, console).await,
        Verb::Member(Member::Replace(args)) => member::replace(args, settings, console).await,
        Verb::Member(Member::Remove(args)) => member::remove(args, settings, console).await,
        Verb::Leader(Leader::Transfer(args)) => leader::transfer(args, settings, console).await,
        Verb::Compact(args) => compact::compact(args, settings, console).await,
        Verb::CanStop(args) => can_stop::can_stop(args, settings, console).await,
        Verb::Ca(Ca::Show) => ca::show(settings, console).await,
        Verb::Ca(Ca::Rotate(args)) => ca::rotate(args, settings, console).await,
        Verb::Login(args) => login::login(args, settings, console).await,
        Verb::Token(Token::New(args)) => token::new(args, settings, console).await,
        Verb::Token(Token::Show) => token::show(settings, console).await,
        Verb::Token(Token::Revoke(args)) => token::revoke(args, settings, console).await,
        Verb::Cluster(Cluster::Create(args)) => cluster::create(args, settings, console).await,
        Verb::Cluster(Cluster::Join(args)) => cluster::join(args, settings, console).await,
        Verb::Cluster(Cluster::Recover(args)) => recover::recover(args, settings, console).await,
    }
}

/// `1 byte`, `2 bytes`.
fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A standard stream for the runtime. Its reads and writes happen in a thread of their own, so a terminal that is never typed at blocks nothing.
fn standard(stream: impl AsFd) -> Result<tokio::fs::File, Error> {
    let file = stream.as_fd().try_clone_to_owned().map_err(|error| Error::file("cannot use a standard stream", error))?;
    Ok(tokio::fs::File::from_std(file.into()))
}

/// Finds the one cluster that is meant.
async fn connect(settings: &Settings) -> Result<Client, Error> {
    let started = Instant::now();
    let mut client = reach(settings).await?;
    let left = client.options.timeout;
    if settings.peers.is_some() {
        client.meet(left / 2).await;
        client.several().map_or(Ok(()), Err)?;
    }
    client.options.timeout = settings.options().timeout.saturating_sub(started.elapsed()).max(Duration::from_millis(LAST_ATTEMPT_MS));
    Ok(client)
}

/// The same, but for what stands behind given addresses, which is not asked yet.
async fn reach(settings: &Settings) -> Result<Client, Error> {
    let started = Instant::now();
    let mut options = settings.options();
    let mut peers = settings.peers.clone();
    options.login = Logins::of_user().and_then(|logins| logins.meant(settings.cluster.as_deref()));
    if options.login.is_none()
        && peers.is_none()
        && let Some(socket) = socket::present()
    {
        match admission::log_in_locally(&socket).await {
            // Whoever may read a node's files needs no token on its board.
            Ok(login) => {
                peers = Some(login.peers.clone());
                options.login = Some(login);
            }
            // Whoever names a node means that one: what others announce is no answer.
            Err(error) if socket::is_named() && error.reason != Reason::OtherCluster => return Err(error),
            Err(_) => {}
        }
    }
    let targets = peers.map_or(Targets::Find, Targets::Given);
    let mut client = Client::connect(targets, options).await?;
    // Looking for the cluster takes from the command's time, but for a last attempt there is always some left.
    let left = client.options.timeout.saturating_sub(started.elapsed());
    client.options.timeout = left.max(Duration::from_millis(LAST_ATTEMPT_MS));
    Ok(client)
}
