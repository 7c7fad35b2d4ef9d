//! The fields of a report that no measurement holds: whoever edits one of them is found by a signature alone.

/// A JSON pointer each (`*` stands for any one part, `**` for all that follows), and what else holds it.
pub const BY_SIGNATURE: &[(&str, &str)] = &[
    ("/tool/version", "which release; the files beside the report name it too"),
    ("/tool/instruction_set", "which processor"),
    ("/tool/device", "which device"),
    ("/tool/precision", "which numbers"),
    ("/run/**", "when, how long, what it cost, by whom, on which machine, what came from the cache"),
    ("/model/identity/path", "what the file was called"),
    ("/model/identity/format", "`--model`"),
    ("/model/identity/bytes", "`--model`"),
    ("/model/description", "`--model`"),
    ("/model/parameters", "`--model`"),
    ("/model/input/**", "`--model`"),
    ("/model/features/**", "`--model`"),
    ("/model/bypass/**", "`--model`"),
    ("/model/executor/**", "what computed the features"),
    ("/references/*/**", "a reference's name and description; its digest is the policy's"),
    ("/policy/source", "what the policy's file was called, together with the `origin` of each finding"),
    ("/policy/files/**", "`--policy`"),
    ("/target/train/pictures", "`--data`; always checked for images inside the program"),
    ("/changes/*", "of triggers with files: `--policy`"),
    ("/triggers/*", "of triggers with files: `--policy`"),
    ("/canary/detail", "of a self-test that failed"),
    ("/plan/left_out/*", "what was left out, and why"),
    ("/findings/*/reason", "of what was not measured: why it was not"),
    ("/findings/*/comparisons/*/missing", "of what was not measured: why it was not"),
    ("/accuracy/*/accuracy", "of the head on shrunk images"),
    ("/accuracy/*/low", "of the head on shrunk images"),
    ("/accuracy/*/high", "of the head on shrunk images"),
    ("/warnings/*", "what the run remarked"),
    ("/broken/*/**", "`--data`"),
    ("/report_only", "whether the run's exit code was to be 0 whatever was found; `exit_code` is recomputed"),
];

/// Whether an edit of the field at a JSON pointer may be found by a signature alone.
pub fn by_signature_alone(pointer: &str) -> bool {
    let fits = |pattern: &str| {
        let mut parts = pointer.split('/').skip(1);
        for wanted in pattern.split('/').skip(1) {
            match (wanted, parts.next()) {
                ("**", _) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(part)) if wanted == part => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    };
    BY_SIGNATURE.iter().any(|(pattern, _)| fits(pattern))
}

#[cfg(test)]
mod tests {
    use super::{BY_SIGNATURE, by_signature_alone};

    #[test]
    fn pointers_are_matched_part_by_part() {
        for (pointer, alone) in [
            ("/run/started", true),
            ("/run/provenance/machine/cores", true),
            ("/warnings/3", true),
            ("/warnings", false),
            ("/accuracy/1/seeds", false),
            ("/accuracy/2/low", true),
            ("/exit_code", false),
            ("/model/identity/digest", false),
        ] {
            assert_eq!(by_signature_alone(pointer), alone, "{pointer}");
        }
    }

    /// docs/ci.md has the same table.
    #[test]
    fn the_documents_list_every_field() {
        let docs = include_str!("../../docs/ci.md");
        for (pointer, why) in BY_SIGNATURE {
            assert!(docs.contains(&format!("| `{pointer}` | {why} |")), "docs/ci.md lacks: | `{pointer}` | {why} |");
        }
    }
}
