package chat

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Typed reads what a person typed or pasted to name one customer: a lookup code, an integration id
// or an e-mail address. It ignores quotes, punctuation and other words around it, and reads digits
// of all scripts. If another word has a digit, the text is unclear: the code may be part of a
// telephone number.
func Typed(text string) (Clues, Unclear) {
	words := strings.Fields(Fold(text))
	if code := joinedCode(words); code != "" {
		return Clues{LookupCode: code}, ""
	}
	var clues Clues
	found := "" // the word that is the clue
	why := UnclearText
	other := false
	for _, word := range words {
		word = cleanWord(word)
		c, ok := wordClue(word)
		switch {
		case ok && clues.Empty():
			found, clues = word, c
		case ok && !strings.EqualFold(word, found):
			return Clues{}, UnclearSeveral
		case ok:
		case strings.Contains(word, "@") && strings.ContainsFunc(word, func(r rune) bool { return r > unicode.MaxASCII }):
			other, why = true, UnclearLetters
		case strings.ContainsAny(word, digits), strings.LastIndex(word, "@") > 0: // "@bob" is a mention
			other = true
		}
	}
	switch {
	case len(words) == 0:
		return Clues{}, ""
	case other, clues.Empty():
		return Clues{}, why
	}
	return clues, ""
}

// joinedCode returns the code if the words together are one, such as "04 21" or "04-21".
func joinedCode(words []string) string {
	code := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Pd, r) {
			return -1
		}
		return r
	}, strings.Trim(strings.Join(words, ""), around))
	if IsLookupCode(code) {
		return code
	}
	return ""
}

// around has what people, phones and chat services put around a word.
const around = "\"'`*~()[]{}<>“”„‟‚‛«»‹›#.,;:!?。、"

// cleanWord removes what is around a clue.
func cleanWord(word string) string {
	word = strings.Trim(word, around)
	for _, prefix := range []string{"mailto:", "tel:", "code:", "id:"} {
		if len(word) > len(prefix) && strings.EqualFold(word[:len(prefix)], prefix) {
			word = word[len(prefix):]
			if prefix == "mailto:" {
				word, _, _ = strings.Cut(word, "?") // a subject may follow
			}
			word = strings.Trim(word, around)
		}
	}
	if code := strings.Trim(word, "_"); IsLookupCode(code) { // Slack's and Rocket.Chat's italics
		return code
	}
	// Phones begin a text with a capital letter. The product in an integration id has none.
	if product, id, ok := strings.Cut(word, ":"); ok {
		return strings.ToLower(product) + ":" + id
	}
	return word
}

// wordClue reads a word that cleanWord returned.
func wordClue(word string) (Clues, bool) {
	switch {
	case IsLookupCode(word):
		return Clues{LookupCode: word}, true
	case IsIntegrationID(word) && !strings.Contains(word, "://"):
		return Clues{IntegrationIDs: []string{word}}, true
	case isEmail(word):
		return Clues{Email: word}, true
	}
	return Clues{}, false
}

// isEmail reports whether s is an address that Upscope can search for; upscope.Email has the same
// form.
func isEmail(s string) bool {
	user, domain, ok := strings.Cut(s, "@")
	if !ok || user == "" || len(user) > 64 || len(s) > 254 || !strings.Contains(domain, ".") ||
		strings.Trim(user, alnum+"_"+"!$%&'*+-./=?^{}~") != "" || strings.IndexAny(user, alnum+"_") != 0 {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, alnum+"-") != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// codeWords are words for "code", in lower case and without accents.
var codeWords = []string{"code", "codigo", "codice", "kode", "koden", "kod", "код"}

var (
	numberForm = regexp.MustCompile(`[0-9]+`)
	// What makes a number part of a word, a longer number, a date, a time or a price.
	joinedBefore = regexp.MustCompile(`[\pL\pM_+]$|[0-9][\s.,:/'-]$|\p{Sc}\s?$`)
	joinedAfter  = regexp.MustCompile(`^[\pL\pM_%]|^[\s.,:/'-][0-9]|^\s?\p{Sc}`)
)

// CodeIn returns the lookup code in what a customer wrote, or "". The text must be only a code, or
// have a word for "code" and exactly one number of four digits. Other numbers of four digits are
// more likely years or prices.
func CodeIn(text string) string {
	text = Fold(text)
	whole := strings.Trim(text, around+" \t\r\n-")
	if len(whole) > 4 && strings.EqualFold(whole[:4], "code") {
		whole = strings.TrimLeft(whole[4:], around+" \t\r\n-")
	}
	if IsLookupCode(whole) {
		return whole
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) })
	if !slices.ContainsFunc(words, isCodeWord) {
		return ""
	}
	code := ""
	for _, at := range numberForm.FindAllStringIndex(text, -1) {
		number, before, after := text[at[0]:at[1]], text[max(0, at[0]-8):at[0]], text[at[1]:]
		if !IsLookupCode(number) || joinedBefore.MatchString(before) || joinedAfter.MatchString(after) {
			continue
		}
		if code != "" && code != number {
			return ""
		}
		code = number
	}
	return code
}

func isCodeWord(word string) bool {
	return slices.Contains(codeWords, strings.Map(func(r rune) rune {
		switch {
		case unicode.IsMark(r):
			return -1
		case r == 'ó', r == 'Ó':
			return 'o'
		}
		return unicode.ToLower(r)
	}, word))
}

// Fold replaces characters by those that have the same meaning in clues: digits of all scripts,
// full-width characters and curly apostrophes by ASCII ones. It removes what nobody sees, and the
// marks that make digits pictures of keys.
func Fold(text string) string {
	afterDigit := false
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r), unicode.IsControl(r) && !unicode.IsSpace(r), afterDigit && unicode.IsMark(r):
			return -1
		case r >= '！' && r <= '～':
			r -= '！' - '!'
		case r == '‘' || r == '’' || r == 'ʼ':
			r = '\''
		case unicode.IsDigit(r):
			r = digitOf(r)
		}
		afterDigit = r >= '0' && r <= '9'
		return r
	}, strings.ToValidUTF8(text, " "))
}

// digitOf returns the ASCII digit with the value of a decimal digit. Unicode keeps the ten digits
// of a script together, in their order (unicode.org/versions/latest/core-spec/chapter-4, 4.6).
func digitOf(r rune) rune {
	for _, run := range unicode.Nd.R16 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return '0' + (r-rune(run.Lo))%10
		}
	}
	for _, run := range unicode.Nd.R32 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return '0' + (r-rune(run.Lo))%10
		}
	}
	return r
}
