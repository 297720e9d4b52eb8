//! What `tidelock plugin new` writes: the examples of `examples/plugins`, the SDK and the contract, embedded in the program.

use super::{Language, Role};

/// Every embedded file (see build.rs), by its path in the repository.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/project_files.rs"));

/// The contract's path, in the repository and in a project.
pub(in crate::cli::plugin) const CONTRACT: &str = "wit/plugin.wit";

const SDK: &str = "plugins/sdk/";
/// Where a Rust project has the SDK: as far from the contract as in the repository.
const SDK_IN_PROJECT: &str = "vendor/tidelock-plugin/";
/// How an example's manifest leads to the SDK.
const SDK_FROM_EXAMPLE: &str = "../../../../plugins/sdk";
/// The workspace from which the SDK's manifest takes what is `.workspace = true`.
const WORKSPACE_MANIFEST: &str = include_str!("../../../../plugins/Cargo.toml");

const ROLES: [Role; 4] = [Role::Transform, Role::Validator, Role::Resolver, Role::RecordTransform];

/// Path below the project, and content.
type File = (String, Vec<u8>);

/// The contract.
pub(in crate::cli::plugin) fn contract() -> &'static [u8] {
    FILES.iter().find(|(path, _)| *path == CONTRACT).map_or(&[], |(_, content)| content)
}

/// The roles of which there is a template in a language.
pub(in crate::cli::plugin) fn roles(language: Language) -> Vec<Role> {
    ROLES.into_iter().filter(|role| below(&folder(language, *role)).next().is_some()).collect()
}

/// Every file of a new project, under the project's own name. Empty where there is no template.
pub(in crate::cli::plugin) fn project(language: Language, role: Role, name: &str) -> Vec<File> {
    let folder = folder(language, role);
    let example = below(&folder).find(|(path, _)| *path == super::MANIFEST).and_then(|(_, manifest)| example(manifest));
    let Some(example) = example else { return Vec::new() };
    let verbatim = |path: String, content: &[u8]| (path, content.to_vec());
    let mut files: Vec<File> =
        below(&folder).map(|(path, content)| (path.to_owned(), named(content, &example, name))).collect();
    let is_of_role = |path: &str| ROLES.iter().any(|role| path.starts_with(&format!("{}/", role.word())));
    let of_language = below(language.folder()).filter(|(path, _)| !is_of_role(path));
    files.extend(of_language.map(|(path, content)| verbatim(path.to_owned(), content)));
    files.push(verbatim(CONTRACT.to_owned(), contract()));
    if language == Language::Rust {
        files.push((format!("{SDK_IN_PROJECT}Cargo.toml"), sdk_manifest().into_bytes()));
        let sources = below(SDK).filter(|(path, _)| path.starts_with("src/"));
        files.extend(sources.map(|(path, content)| verbatim(format!("{SDK_IN_PROJECT}{path}"), content)));
    }
    files
}

fn folder(language: Language, role: Role) -> String {
    format!("{}{}/", language.folder(), role.word())
}

fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    FILES.iter().filter_map(move |(path, content)| Some((path.strip_prefix(folder)?, *content)))
}

/// What an example is called.
fn example(manifest: &[u8]) -> Option<String> {
    serde_json::from_slice::<super::Manifest>(manifest).ok().map(|manifest| manifest.name)
}

/// A file of an example as the project has it: the example's name is in quotes wherever it is the plugin's or the function's.
fn named(content: &[u8], example: &str, name: &str) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(content) else { return content.to_vec() };
    let own = text.replace(&format!("\"{example}\""), &format!("\"{name}\""));
    own.replace(SDK_FROM_EXAMPLE, SDK_IN_PROJECT.trim_end_matches('/')).into_bytes()
}

/// The SDK's manifest for a folder outside its workspace: what it inherits is written out, and the lints stay at home.
fn sdk_manifest() -> String {
    let own = below(SDK).find(|(path, _)| *path == "Cargo.toml").map_or(&[][..], |(_, content)| content);
    let own = String::from_utf8_lossy(own);
    let own = own.split("\n[lints]").next().unwrap_or_default();
    let mut text = String::new();
    for line in own.lines() {
        let inherited = line.strip_suffix(".workspace = true").and_then(|key| {
            let prefix = format!("{key} = ");
            WORKSPACE_MANIFEST.lines().find(|line| line.starts_with(&prefix))
        });
        text.push_str(inherited.unwrap_or(line));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_a_template() {
        let words = |language| roles(language).into_iter().map(Role::word).collect::<Vec<_>>();
        assert_eq!(words(Language::Rust), ["transform", "validator", "resolver", "record-transform"]);
        assert_eq!(words(Language::C), ["transform"]);
        assert_eq!(words(Language::JavaScript), ["transform", "validator", "resolver"]);
        assert_eq!(words(Language::Python), ["transform", "validator", "resolver"]);
        assert!(project(Language::C, Role::Resolver, "x").is_empty());
    }

    #[test]
    fn a_project_under_the_examples_own_name_is_the_example() {
        for (language, role) in [(Language::JavaScript, Role::Validator), (Language::Python, Role::Resolver)] {
            let folder = folder(language, role);
            let name = below(&folder).find_map(|(_, manifest)| example(manifest)).unwrap();
            let made = project(language, role, &name);
            for (path, content) in below(&folder) {
                assert_eq!(made.iter().find(|(made, _)| made == path).unwrap().1, content, "{path}");
            }
        }
    }

    #[test]
    fn a_project_has_its_own_name_and_no_path_into_the_repository() {
        let files = project(Language::Rust, Role::Transform, "my_function");
        for (path, content) in &files {
            let text = String::from_utf8_lossy(content);
            assert!(path.starts_with("vendor/") || !text.contains("\"initials\""), "{path}");
            assert!(!text.contains(SDK_FROM_EXAMPLE), "{path}");
        }
        let text = |path: &str| {
            let (_, content) = files.iter().find(|(made, _)| made == path).unwrap();
            String::from_utf8_lossy(content).into_owned()
        };
        assert!(text("src/lib.rs").contains("function(\"my_function\","));
        assert!(text("plugin.json").contains("\"name\": \"my_function\""));
        let manifest = text("vendor/tidelock-plugin/Cargo.toml");
        assert!(!manifest.contains("workspace") && manifest.contains("wit-bindgen = {"), "{manifest}");
        assert!(text(CONTRACT).contains("package tidelock:plugin@"));
        assert!(!text("vendor/tidelock-plugin/src/lib.rs").is_empty());
    }
}
