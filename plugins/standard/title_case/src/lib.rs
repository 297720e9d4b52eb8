//! `title_case`: every word with a capital, the rest small. The rules are in [`title`].

mod title;

use tidelock_plugin::{function, plugin};

plugin! {
    function(
        "title_case",
        "Begins every word with a capital and writes the rest small: for names that came in capitals or without any. \
         Words end at spaces, dashes and punctuation; an apostrophe after a single letter begins another one (O'Brien).",
    )
    .idempotent()
    .example("ada KING lovelace", "Ada King Lovelace")
    .example("O'BRIEN-smith", "O'Brien-Smith")
    .example("mcdonald", "Mcdonald")
    .example("DON'T", "Don't")
    .example("ÉMILE zola", "Émile Zola")
    .example("ΟΔΥΣΣΕΥΣ", "Οδυσσευς")
    .example_json("{}", "null", "null")
    .write(title::title_case)
}
