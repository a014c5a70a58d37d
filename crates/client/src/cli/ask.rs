//! Questions to whoever sits at the terminal.

use crate::error::Error;

/// Whether the answer is yes; anything else is no.
pub async fn ask(question: &str) -> Result<bool, Error> {
    let answer = ask_for(&format!("{question} [y/N]")).await?;
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
}

/// The line that is typed, without the blanks around it.
pub async fn ask_for(question: &str) -> Result<String, Error> {
    let question = format!("{question} ");
    let answer = tokio::task::spawn_blocking(move || {
        eprint!("{question}");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.expect("reading a line does not panic");
    let answer = answer.map_err(|error| Error::file("cannot read the answer", error))?;
    Ok(answer.trim().to_string())
}
