//! A node's papers on its disk.

use std::cell::OnceCell;

use trust::{Credentials, Who};

use crate::{
    circle, der,
    guard::{Founding, Papers},
    script::Script,
    shelf::Shelf,
};

thread_local! {
    static SHELF: OnceCell<Shelf> = const { OnceCell::new() };
}

/// Papers, or a fault that can be told; and papers that the authority has not signed are never in order.
pub fn papers_file(bytes: &[u8]) {
    SHELF.with(|shelf| {
        let shelf = shelf.get_or_init(Shelf::new);
        match bytes.split_first() {
            Some((b'\0', script)) => put_to_use(&made(Script::new(script)), shelf),
            _ => {
                let path = shelf.put("papers.toml", bytes);
                match Papers::read(&path) {
                    Ok(papers) => put_to_use(&papers.expect("there is a file"), shelf),
                    Err(error) => assert!(!error.to_string().is_empty(), "a fault without a word"),
                }
            }
        }
    });
}

fn made(mut script: Script<'_>) -> Papers {
    let (leaf, key) = match script.below(3) {
        0 => (circle::NODE, circle::NODE_KEY),
        1 => (circle::CLIENT, circle::CLIENT_KEY),
        _ => (circle::ROGUE_NODE, circle::NODE_KEY),
    };
    let edits = script.byte();
    let mut perhaps = |bit: u8, der: &[u8]| if edits >> bit & 1 == 1 { der::edited(der, &mut script) } else { der.to_vec() };
    let credentials = Credentials { leaf: perhaps(0, leaf), key: perhaps(1, key), authorities: vec![perhaps(2, circle::AUTHORITY)] };
    let founding = script.flag().then(|| Founding { authority_key: circle::AUTHORITY_KEY.to_vec(), voters: script.byte() });
    // More a file cannot say, and nobody is told.
    Papers { credentials, formed_id: [script.byte(); 16], time_s: script.near(circle::NOW.0) >> 1, founding }
}

fn put_to_use(papers: &Papers, shelf: &Shelf) {
    let Papers { credentials, .. } = papers;
    let _ = (credentials.subject(), credentials.expires(), credentials.renew_at());
    let serves = trust::server_config(credentials, circle::clock()).is_ok();
    let calls = trust::client_config(credentials, circle::clock()).is_ok();
    if (serves || calls) && credentials.authorities == [circle::AUTHORITY] {
        assert!(credentials.leaf == circle::NODE || credentials.leaf == circle::CLIENT, "in order, and not signed by the authority");
        let subject = credentials.subject().expect("in order, and names nobody");
        assert!(!serves || matches!(subject.who, Who::Node(_)), "a client serves");
    }
    let path = shelf.path().join("again.toml");
    papers.write(&path).expect("memory can be written");
    let again = Papers::read(&path).expect("just written").expect("just written");
    let told = |papers: &Papers| {
        let founding = papers.founding.as_ref().map(|founding| (founding.authority_key.clone(), founding.voters));
        (papers.credentials.clone(), papers.formed_id, papers.time_s, founding)
    };
    assert!(told(&again) == told(papers), "papers are others after a round");
}
