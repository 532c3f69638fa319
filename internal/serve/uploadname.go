package serve

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxUploadName bounds in bytes a name that is kept, so that a number fits behind it.
	maxUploadName = 200
	// maxUploadExt is the longest extension that is kept when a name is cut.
	maxUploadExt = 20
)

// obeyed lists the extensions of what a web server that serves the same folder
// would run or obey, or a desktop when its owner looks into the folder.
var obeyed = map[string]bool{
	".php": true, ".php3": true, ".php4": true, ".php5": true, ".php7": true, ".php8": true, ".phps": true, ".pht": true, ".phtm": true,
	".phtml": true, ".phar": true, ".inc": true, ".asp": true, ".aspx": true, ".ascx": true, ".ashx": true, ".asmx": true, ".asa": true,
	".cer": true, ".config": true, ".jsp": true, ".jspx": true, ".jspf": true, ".cfm": true, ".cfml": true, ".cgi": true, ".fcgi": true,
	".shtml": true, ".shtm": true, ".stm": true, ".desktop": true, ".lnk": true, ".url": true, ".scf": true, ".pif": true, ".hta": true,
	".swf": true, ".xht": true, ".mht": true, ".mhtml": true, ".svgz": true, ".xsl": true, ".xslt": true, ".cjs": true,
}

// acts tells whether something of that extension is run by a browser as a part
// of this site, or obeyed by somebody else.
func acts(ext string) bool {
	ext = strings.ToLower(ext)
	t, _, _ := strings.Cut(types[ext], ";")
	return obeyed[ext] || t == "text/html" || t == "text/javascript" || t == "text/xml" || t == "application/xml" || strings.HasSuffix(t, "+xml")
}

// shown returns what of name shows, without what changes how other letters do.
// The joiners stay where scripts, and emoji, are written with them.
func shown(name string) string {
	before := rune(0)
	return strings.Map(func(r rune) rune {
		joins := (r == '\u200c' || r == '\u200d') && before > unicode.MaxASCII && unicode.In(before, unicode.Lo, unicode.M, unicode.So, unicode.Sk)
		if !joins && (unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) || unicode.Is(unicode.Noncharacter_Code_Point, r)) {
			return -1
		}
		before = r
		return r
	}, name)
}

// safeName returns a name for an upload that a person called name: as it is, if
// it can stay. What remains has no slash, does not begin with a dot or a hyphen,
// shows no other letters than it has, and its extensions make nobody run it, or
// send it in the place of another file. It is empty if nothing remains.
func safeName(name string) string {
	// Some send the path that the file had with them.
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if os.PathSeparator == '\\' && strings.ContainsRune(`:*?"<>|`, r) {
			return '_'
		}
		return r
	}, shown(strings.ToValidUTF8(name, "_")))
	name = strings.TrimRight(strings.TrimLeft(strings.TrimSpace(name), ". "), ". ")
	if strings.HasPrefix(name, "-") {
		name = "_" + name[1:] // or a shell's * makes an option of it
	}
	// Each extension that is left counts: some servers look at all of them.
	parts := strings.Split(cutName(name), ".")
	name = parts[0]
	for _, part := range parts[1:] {
		if acts("." + strings.TrimSpace(part)) {
			name += "_" + part
		} else {
			name += "." + part
		}
	}
	if plain, ok := codes(name); ok {
		name = plain + "_" + name[len(plain)+1:]
	}
	if name != "" && !filepath.IsLocal(name) {
		name = "_" + name // a device, on some systems
	}
	return name
}

// cutName returns of a name what is kept, with its extension if that is short.
func cutName(name string) string {
	if len(name) <= maxUploadName {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > maxUploadExt {
		ext = ""
	}
	stem := name[:maxUploadName-len(ext)]
	for !utf8.ValidString(stem) {
		stem = stem[:len(stem)-1]
	}
	return strings.TrimRight(stem, ". ") + ext
}

// mayMake tells whether something may be made under that name where names are
// kept to the letter. That of a file must not deceive: look like another, or be
// an option for a shell. That of a folder is one that an upload would get too; it
// may end in dots, where they are letters like others.
func (d *folder) mayMake(name string, isFolder bool) bool {
	name = path.Base(name)
	if d.dotfiles {
		name = strings.TrimPrefix(name, ".")
	}
	if !isFolder {
		return !strings.HasPrefix(name, "-") && shown(name) == name && utf8.ValidString(name)
	}
	safe := safeName(name)
	return safe != "" && (name == safe || os.PathSeparator == '/' && strings.TrimRight(name, ".") == safe)
}
