//! "Ada King Lovelace" becomes "AKL": a whole tidelock plugin.
use tidelock_plugin::{function, plugin};

plugin! {
    function("initials", "The first letter of every word.")
        .example("Ada King Lovelace", "AKL")
        .map(|name| name.split_whitespace().filter_map(|word| word.chars().next()).collect())
}
