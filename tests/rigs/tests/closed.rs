//! A closed cluster: made on one board, entered with a token, and of no use to anybody without one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rigs::{Node, Scratch, client, eventually, free_ports, within};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Beyond what counts as alive, so that a slow machine replaces nobody.
const REPLACE_AFTER_S: u64 = 5;

/// Three boards on loopback that belong to nothing, and three people's homes.
struct Boards {
    scratch: Scratch,
    nodes: Vec<Node>,
}

impl Boards {
    fn up(test: &str) -> Boards {
        let scratch = Scratch::new(test);
        let ports: [u16; 3] = free_ports();
        let board = |(number, port): (usize, &u16)| {
            let mut node = Node::new(scratch.path(), &format!("board{}", number + 1), *port);
            node.args = ["--interface", "lo"].map(Into::into).to_vec();
            node.env.push(("RUSTY_KV_NODE_BOARD".into(), format!("board {number}")));
            node.env.push(("RUSTY_KV_CLUSTER_REPLACE_AFTER_S".into(), REPLACE_AFTER_S.to_string()));
            node.start();
            node
        };
        let nodes = ports.iter().enumerate().map(board).collect();
        Boards { scratch, nodes }
    }

    /// As root on a board.
    fn on_board(&self, number: usize, args: &[&str]) -> Output {
        let socket = self.nodes[number].data_dir().join("control.sock");
        client(&self.home("root"), &[args, &["--socket", socket.to_str().unwrap()]].concat())
    }

    /// As somebody with a home of their own, asking one node.
    fn ask(&self, who: &str, number: usize, args: &[&str]) -> Output {
        client(&self.home(who), &[&["--addr", &self.nodes[number].address()], args].concat())
    }

    fn home(&self, who: &str) -> PathBuf {
        let home = self.scratch.path().join(who);
        fs::create_dir_all(&home).unwrap();
        home
    }

    /// The first board makes the cluster, the others join; the administrator logs in.
    async fn close(&self) {
        let socket = self.nodes[0].data_dir().join("control.sock");
        eventually(10, "the first board is up", async || socket.exists(), |up| *up).await;
        let token = token_in(&told(&self.on_board(0, &["cluster", "create"]), 0));
        for number in [1, 2] {
            told(&self.on_board(number, &["--addr", &self.nodes[0].address(), "cluster", "join", &token]), 0);
        }
        let admin = token_in(&told(&self.by_root(&["token", "new", "--client", "--role", "admin"]), 0));
        told(&self.ask("admin", 1, &["login", &admin]), 0);
        let voters = async || told(&self.ask("admin", 0, &["member", "list"]), 0).matches("  voter").count();
        eventually(30, "three voters are up", voters, |voters| *voters == 3).await;
    }

    /// A command that has no flag for the socket finds it in the environment.
    fn by_root(&self, args: &[&str]) -> Output {
        let socket = self.nodes[0].data_dir().join("control.sock");
        let mut command = std::process::Command::new(rigs::binary("client"));
        let home = self.home("root");
        command.args(args).current_dir(&home).env_clear().env("HOME", &home).env("RUSTY_KV_SOCKET", socket);
        command.output().expect("the binary starts")
    }
}

/// What a command wrote, if it ended as it should.
#[track_caller]
fn told(output: &Output, code: i32) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{error}");
    format!("{out}{error}")
}

fn token_in(text: &str) -> String {
    text.split_whitespace().find(|word| word.starts_with("rkv1.")).expect("a token was printed").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn one_token_makes_a_cluster_of_boards_that_speak_to_nobody_else() {
    let mut boards = Boards::up("closed");
    within(90, "the boards come together", boards.close()).await;

    // Both may be run again on every run of a provisioning tool.
    assert!(told(&boards.on_board(0, &["cluster", "create"]), 0).contains("already"));
    let token = token_in(&told(&boards.ask("admin", 2, &["token", "new", "--uses", "1"]), 0));
    assert!(told(&boards.on_board(2, &["cluster", "join", &token]), 0).contains("already"));

    told(&boards.ask("admin", 0, &["set", "cam/1", "picture"]), 0);
    told(&boards.ask("admin", 1, &["set", "door", "open"]), 0);

    // Who has no login gets nothing from anybody, by whatever protocol.
    told(&boards.ask("guest", 0, &["--timeout", "2s", "get", "door"]), 5);
    let mut plain = TcpStream::connect(boards.nodes[0].address()).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut heard = Vec::new();
    let _reset = within(10, "it is shown the door", plain.read_to_end(&mut heard)).await;
    assert!(heard.len() < 64 && !heard.windows(6).any(|some| some == b"\0\0\0\x04\x01\0"), "no HTTP/2 is spoken: {heard:?}");

    // A role is all that a login is good for.
    let reader = ["token", "new", "--client", "--role", "read", "--prefix", "cam/"];
    let reader = token_in(&told(&boards.ask("admin", 0, &reader), 0));
    told(&boards.ask("camera", 0, &["login", &reader]), 0);
    assert_eq!(told(&boards.ask("camera", 1, &["get", "cam/1"]), 0), "picture");
    for refused in [&["get", "door"][..], &["set", "cam/1", "x"], &["delete", "cam/1"], &["member", "list"], &["token", "new"]] {
        let code = boards.ask("camera", 2, refused).status.code();
        let expected = if refused[0] == "member" { 0 } else { 5 };
        assert_eq!(code, Some(expected), "{refused:?}");
    }
    assert!(told(&boards.ask("camera", 0, &["set", "cam/1", "x"]), 5).contains("role write"));

    // A token of boards lets no user in, one of users no board; one that is used up or revoked nobody.
    assert!(told(&boards.ask("guest", 0, &["login", &token]), 5).contains("for boards"));
    let once = token_in(&told(&boards.ask("admin", 0, &["token", "new", "--client", "--uses", "1"]), 0));
    told(&boards.ask("friend", 0, &["login", &once]), 0);
    assert!(told(&boards.ask("guest", 0, &["login", &once]), 5).contains("used up"));
    let gone = token_in(&told(&boards.ask("admin", 0, &["token", "new", "--client"]), 0));
    let shown = told(&boards.ask("admin", 0, &["token", "show"]), 0);
    for id in shown.lines().filter_map(|line| line.split_whitespace().next()) {
        told(&boards.ask("admin", 0, &["token", "revoke", id]), 0);
    }
    assert!(told(&boards.ask("guest", 0, &["login", &gone]), 5).contains("not known"));

    // Nothing of that is lost or forgotten by a restart.
    for node in &mut boards.nodes {
        assert!(node.stop(Signal::TERM).status.success());
        node.start();
    }
    let healthy = async || boards.ask("admin", 0, &["status", "--check"]).status.code();
    eventually(30, "they are up again", healthy, |code| *code == Some(0)).await;
    assert_eq!(told(&boards.ask("friend", 2, &["get", "door"]), 0), "open");
    told(&boards.ask("guest", 2, &["--timeout", "2s", "get", "door"]), 5);
    for private in ["papers.toml", "control.sock"] {
        assert_eq!(mode(&boards.nodes[1].data_dir().join(private)), 0o600, "{private}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn the_authority_is_exchanged_while_nobody_who_takes_part_is_locked_out() {
    let mut boards = Boards::up("rotation");
    within(90, "the boards come together", boards.close()).await;
    told(&boards.ask("admin", 0, &["set", "door", "open"]), 0);
    let token = token_in(&told(&boards.ask("admin", 0, &["token", "new", "--client"]), 0));
    for friend in ["present", "absent"] {
        told(&boards.ask(friend, 0, &["login", &token]), 0);
    }
    let before = papers(&boards.home("present"));

    assert!(told(&boards.ask("admin", 1, &["ca", "rotate", "--finish"]), 0).contains("nothing to finish"));
    assert!(told(&boards.ask("admin", 1, &["ca", "rotate"]), 0).contains("beside the old one"));
    assert!(told(&boards.ask("admin", 2, &["ca", "rotate"]), 0).contains("already"));
    let heard = async || told(&boards.ask("admin", 0, &["ca", "show"]), 0).matches("trusts them").count();
    eventually(20, "every board has heard", heard, |boards| *boards == 3).await;
    // Boards give certificates of the new authority once all of them have surely heard.
    tokio::time::sleep(Duration::from_secs(7)).await;
    for number in 0..3 {
        assert_eq!(told(&boards.ask("present", number, &["get", "door"]), 0), "open");
    }
    assert_ne!(papers(&boards.home("present")), before, "the login has a certificate of the new authority");
    // The old token is as good as before, for boards still show what it names.
    told(&boards.ask("late", 2, &["login", &token]), 0);
    assert_eq!(told(&boards.ask("late", 1, &["get", "door"]), 0), "open");

    // It is not finished behind the back of a board that is down.
    boards.nodes[2].kill();
    let stopped = told(&boards.ask("admin", 0, &["ca", "rotate", "--finish", "--timeout", "4s"]), 3);
    assert!(stopped.contains("board3"), "{stopped}");
    boards.nodes[2].start();
    assert!(told(&boards.ask("admin", 0, &["ca", "rotate", "--finish"]), 0).contains("no more"));
    assert!(told(&boards.ask("admin", 0, &["ca", "rotate", "--finish"]), 0).contains("nothing to finish"));

    for node in &mut boards.nodes {
        assert!(node.stop(Signal::TERM).status.success());
        node.start();
    }
    let healthy = async || boards.ask("admin", 0, &["status", "--check"]).status.code();
    eventually(30, "they believe each other", healthy, |code| *code == Some(0)).await;
    for friend in ["present", "late"] {
        assert_eq!(told(&boards.ask(friend, 2, &["get", "door"]), 0), "open", "{friend}");
    }
    let locked_out = told(&boards.ask("absent", 0, &["--timeout", "2s", "get", "door"]), 5);
    assert!(locked_out.contains("rusty-kv login"), "{locked_out}");
    assert!(
        told(&boards.ask("guest", 0, &["--timeout", "2s", "login", &token]), 5).contains("token"),
        "the old authority is what it names"
    );
    let token = token_in(&told(&boards.ask("admin", 0, &["token", "new", "--client"]), 0));
    told(&boards.ask("absent", 0, &["login", &token]), 0);
    assert_eq!(told(&boards.ask("absent", 1, &["get", "door"]), 0), "open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_board_with_an_empty_card_joins_again_and_takes_its_old_place() {
    let mut boards = Boards::up("empty");
    within(90, "the boards come together", boards.close()).await;
    told(&boards.ask("admin", 0, &["set", "door", "open"]), 0);
    let token = token_in(&told(&boards.ask("admin", 0, &["token", "new"]), 0));
    boards.nodes[2].kill();
    fs::remove_dir_all(boards.nodes[2].data_dir()).unwrap();
    boards.nodes[2].start();
    let socket = boards.nodes[2].data_dir().join("control.sock");
    eventually(10, "the board is up", async || socket.exists(), |up| *up).await;
    told(&boards.on_board(2, &["--addr", &boards.nodes[0].address(), "cluster", "join", &token]), 0);
    let members = async || {
        let text = told(&boards.ask("admin", 0, &["member", "list"]), 0);
        (text.matches("board3").count(), text.matches("  voter").count(), text)
    };
    eventually(90, "it has its place again, and its old self is gone", members, |(self_and_old, voters, _)| {
        (*self_and_old, *voters) == (1, 3)
    })
    .await;
    let healthy = async || boards.ask("admin", 0, &["status", "--check"]).status.code();
    eventually(30, "three voters are up", healthy, |code| *code == Some(0)).await;
    assert_eq!(told(&boards.ask("admin", 2, &["get", "door"]), 0), "open");
}

/// What a user's only login says.
fn papers(home: &Path) -> String {
    let logins = home.join(".config/rusty-kv/logins");
    let [login] = &Vec::from_iter(fs::read_dir(logins).unwrap().flatten())[..] else { panic!("one login") };
    fs::read_to_string(login.path()).unwrap()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
