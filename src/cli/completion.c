/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shells' side of complete.h.  "@PROGRAM@" and "@FUNCTION@" stand for the program and for what may be a function's
 * name.  None of the scripts evaluates a word: what the line holds may be anything.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "cli/complete.h"

/*
 * bash splits words at the characters of COMP_WORDBREAKS, too, and replaces only the last piece:
 * "--network=container:w" is five words to it.  So they are put together by the blanks of the line, and what is before
 * the last break is taken off the answers again.
 */
static const char bash_script[] =
	"# bash completion for @PROGRAM@: source this, or put it into\n"
	"# ${XDG_DATA_HOME:-~/.local/share}/bash-completion/completions/@PROGRAM@\n"
	"_@FUNCTION@() {\n"
	"\tlocal rest=${COMP_LINE:0:COMP_POINT} words=() word current='' breaks='' head path\n"
	"\tfor word in \"${COMP_WORDS[@]:0:COMP_CWORD}\"; do\n"
	"\t\tif [[ $rest == [[:blank:]]* || ${#words[@]} -eq 0 ]]; then words+=(\"$word\"); else words[-1]+=$word; fi\n"
	"\t\trest=${rest#\"${rest%%[![:blank:]]*}\"}\n"
	"\t\trest=${rest#\"$word\"}\n"
	"\tdone\n"
	"\tif [[ $rest != [[:blank:]]* && ${#words[@]} -gt 1 ]]; then\n"
	"\t\tcurrent=${words[-1]}\n"
	"\t\tunset 'words[-1]'\n"
	"\tfi\n"
	"\tcurrent+=${rest#\"${rest%%[![:blank:]]*}\"}\n"
	"\tfor word in : = @; do [[ $COMP_WORDBREAKS != *$word* ]] || breaks+=$word; done\n"
	"\thead=${breaks:+${current%\"${current##*[\"$breaks\"]}\"}}\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r word; do\n"
	"\t\tcase $word in\n"
	"\t\t:file\\ * | :dir\\ *)\n"
	"\t\t\tlocal skip=${word#* } kind=-f\n"
	"\t\t\t[[ $word == :file* ]] || kind=-d\n"
	"\t\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\t\twhile IFS= read -r path; do\n"
	"\t\t\t\tCOMPREPLY+=(\"${current:0:skip}$path\")\n"
	"\t\t\tdone < <(compgen \"$kind\" -- \"${current:skip}\")\n"
	"\t\t\t;;\n"
	"\t\t*) COMPREPLY+=(\"${word%%$'\\t'*}\") ;;\n"
	"\t\tesac\n"
	"\tdone < <(\"${words[0]/#\\~\\//$HOME/}\" __complete \"${words[@]:1}\" \"$current\" 2>/dev/null)\n"
	"\tCOMPREPLY=(\"${COMPREPLY[@]#\"$head\"}\")\n"
	"\tif [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=] ]]; then compopt -o nospace 2>/dev/null; fi\n"
	"\treturn 0\n"
	"}\n"
	"complete -F _@FUNCTION@ @PROGRAM@\n";

static const char zsh_script[] =
	"#compdef @PROGRAM@\n"
	"# zsh completion for @PROGRAM@: put this into a directory of $fpath as _@PROGRAM@, or source it after "
	"compinit.\n"
	"_@FUNCTION@() {\n"
	"\tlocal line skip\n"
	"\tlocal -a lines plain joined\n"
	"\tlines=(\"${(@f)$(\"${(Q)words[1]/#\\~\\//$HOME/}\" __complete \"${(@Q)words[2,CURRENT-1]}\" "
	"\"${(Q)PREFIX}\" 2>/dev/null)}\")\n"
	"\tfor line in \"${lines[@]}\"; do\n"
	"\t\tcase $line in\n"
	"\t\t'') ;;\n"
	"\t\t:file\\ *|:dir\\ *)\n"
	"\t\t\tskip=${line#* }\n"
	"\t\t\t(( skip == 0 )) || compset -p $skip\n"
	"\t\t\tif [[ $line == :file* ]]; then _files; else _files -/; fi\n"
	"\t\t\t;;\n"
	"\t\t*)\n"
	"\t\t\tline=${line//:/\\\\:}\n"
	"\t\t\tif [[ ${line%%$'\\t'*} == *[:=] ]]; then joined+=(\"${line/$'\\t'/:}\"); else "
	"plain+=(\"${line/$'\\t'/:}\"); fi\n"
	"\t\t\t;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t(( ! ${#plain} )) || _describe -V '@PROGRAM@' plain\n"
	"\t(( ! ${#joined} )) || _describe -V '@PROGRAM@' joined -S ''\n"
	"}\n"
	"if [[ ${funcstack[1]} == _@PROGRAM@ ]]; then _@FUNCTION@ \"$@\"; else compdef _@FUNCTION@ @PROGRAM@; fi\n";

static const char fish_script[] =
	"# fish completion for @PROGRAM@: put this into ~/.config/fish/completions/@PROGRAM@.fish, or source it.\n"
	"function __@FUNCTION@_complete\n"
	"\tset -l words (commandline -opc)\n"
	"\tset -l current (commandline -ct)\n"
	"\tset -l program (string replace -r '^~/' \"$HOME/\" -- $words[1])\n"
	"\tset -e words[1]\n"
	"\tfor line in (command $program __complete $words \"$current\" 2>/dev/null)\n"
	"\t\tswitch $line\n"
	"\t\t\tcase ':file *' ':dir *'\n"
	"\t\t\t\tset -l skip (string split ' ' -- $line)[2]\n"
	"\t\t\t\tset -l head (string sub -l $skip -- \"$current\")\n"
	"\t\t\t\tset -l rest (string sub -s (math $skip + 1) -- \"$current\")\n"
	"\t\t\t\tif string match -q ':file *' -- $line\n"
	"\t\t\t\t\tprintf '%s\\n' $head(__fish_complete_path \"$rest\")\n"
	"\t\t\t\telse\n"
	"\t\t\t\t\tprintf '%s\\n' $head(__fish_complete_directories \"$rest\" '')\n"
	"\t\t\t\tend\n"
	"\t\t\tcase '*'\n"
	"\t\t\t\tprintf '%s\\n' $line\n"
	"\t\tend\n"
	"\tend\n"
	"end\n"
	"complete -c @PROGRAM@ -f -k -a '(__@FUNCTION@_complete)'\n";

static void print_name(FILE *out, const char *program, bool function)
{
	for (; *program; program++)
		(void)fputc(function && !isalnum((unsigned char)*program) ? '_' : *program, out);
}

int completion_script(FILE *out, const char *program, const char *shell, struct error *err)
{
	static const struct {
		const char *shell, *script;
	} scripts[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };
	const char *at = NULL;

	for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++) {
		if (strcmp(scripts[i].shell, shell) == 0)
			at = scripts[i].script;
	}
	if (!at)
		return error_set(err, EINVAL, "no completion for the shell '%s'; there are: bash, zsh, fish", shell);
	while (*at) {
		size_t length = strcspn(at, "@");

		(void)fwrite(at, 1, length, out);
		at += length;
		if (strncmp(at, "@PROGRAM@", strlen("@PROGRAM@")) == 0) {
			print_name(out, program, false);
			at += strlen("@PROGRAM@");
		} else if (strncmp(at, "@FUNCTION@", strlen("@FUNCTION@")) == 0) {
			print_name(out, program, true);
			at += strlen("@FUNCTION@");
		} else if (*at) {
			(void)fputc(*at++, out);
		}
	}
	return 0;
}
