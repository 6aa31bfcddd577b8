//! JSON Schema drafts 7 and 2020-12 as rules that a decode plan can fuse.
