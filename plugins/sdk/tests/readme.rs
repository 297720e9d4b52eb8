//! The longer example of `plugins/README.md`, as it stands there: keep both the same.

use tidelock_plugin::{Failure, Param, ParamError, Text, function, plugin};

plugin! {
    function("last_digits", "Hides all but the last digits of a number.")
        .param(Param::integer("keep", "How many to keep; 4 by default."))
        .example("4111 1111 1111 1234", "1234")
        .example_with(r#"{"keep":2}"#, "1234", "34")
        .failure("{}", "12", "too-short")
        .open(|params| {
            let keep = params.integer("keep").unwrap_or(4);
            let keep = usize::try_from(keep).map_err(|_| ParamError::new("keep", "expected 0 or more"))?;
            Ok(move |value: &str, out: &mut Text| {
                let start = value.len().checked_sub(keep).filter(|&start| value.is_char_boundary(start));
                let start = start.ok_or_else(|| Failure::new("too-short", "fewer digits than are to be kept"))?;
                out.push_str(&value[start..]);
                Ok(())
            })
        })
}

#[test]
fn the_readme_shows_this_plugin() {
    let plugin = include_str!("readme.rs").split("\n\n").skip(1).take(2).collect::<Vec<_>>().join("\n\n");
    let readme = include_str!("../../README.md");
    assert!(
        plugin.starts_with("use ") && readme.contains(&plugin),
        "plugins/README.md shows another plugin:\n{plugin}"
    );
}
