//! Names a function that does not undo what it does: the host must find that out by itself.

use tidelock_plugin::{function, plugin};

plugin! {
    function("shout", "To upper case.").reversed_by("whisper").example("abc", "ABC").map(|value| value.to_uppercase()),
    function("whisper", "To lower case.").example("ABC", "abc").map(|value| value.to_lowercase()),
}
