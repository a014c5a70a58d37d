//! A token, as somebody pasted it.

use trust::{TOKEN_BYTES, Token};

const MARK: &str = "rkv1.";

/// A token has one spelling, and neither a refusal nor debug output repeats it.
pub fn token_text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    read(text);
    read(&format!("{MARK}{text}"));
}

fn read(text: &str) {
    match text.parse::<Token>() {
        Ok(token) => {
            assert_eq!(token.to_string(), text, "a second spelling");
            assert_eq!(text.len(), TOKEN_BYTES, "of another length");
            let secret = text.rsplit('.').next().expect("a token has parts");
            assert!(!format!("{token:?}").contains(secret), "it is shown");
            let again: Token = token.to_string().parse().expect("just written");
            assert_eq!(again.secret_hash(), token.secret_hash(), "a token is another one after a round");
        }
        // A short piece is found in any sentence, and so is what looks like one.
        Err(error) => {
            let is_said = text.len() >= TOKEN_BYTES / 2 && !text.contains(' ') && error.to_string().contains(text);
            assert!(!is_said, "a refusal repeats what may be a secret");
        }
    }
}
