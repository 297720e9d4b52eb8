//! Declares a law that it breaks for texts with `q` in them: the host must find that out by itself.

use tidelock_plugin::{function, plugin};

plugin! {
    function("double_q", "Doubles each q.").idempotent().example("a", "a").map(|value| value.replace('q', "qq"))
}
