/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/host/cmdline: what the guest's kernel is told, of each engine and kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "paradigm/vm/host/cmdline.h"

/* With an agent, unless oci is -1; the caller frees it. */
static char *words_of(enum vm_engine engine, enum vm_kind kind, int oci, uint32_t tsc_khz, const char *own)
{
	struct vm_config config = VM_CONFIG_INIT;
	struct str out = STR_INIT;

	config.engine = engine;
	config.kind = kind;
	config.oci = oci;
	config.command_line = own;
	cmdline_write(&config, tsc_khz, &out);
	assert_false(str_failed(&out));
	return out.text ? out.text : strdup("");
}

static bool has(const char *words, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = strstr(words, word); at; at = strstr(at + 1, word))
		if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
			return true;
	return false;
}

static void test_kinds(void **unused)
{
	(void)unused;
	for (int engine = VM_ENGINE_KVM; engine <= VM_ENGINE_QEMU; engine++) {
		char *pv = words_of(engine, VM_KIND_PV, 3, 0, NULL), *vm = words_of(engine, VM_KIND_VM, 3, 0, NULL);

		assert_true(has(pv, "console=ttyS0") && has(vm, "console=ttyS0"));
		assert_true(has(pv, "caisson.agent=port:agent") && has(pv, "caisson.root=/dev/vda"));
		assert_true(has(vm, "caisson.agent=ttyS1") && has(vm, "caisson.root=/dev/sda"));
		assert_true(has(vm, "8250.nr_uarts=2")); /* or the agent is not heard */
		/* A disk and a card are on that bus. */
		assert_false(has(vm, "pci=off"));
		assert_null(strstr(pv, "  "));
		free(pv);
		free(vm);
	}
}

static void test_own_words(void **unused)
{
	char *words = words_of(VM_ENGINE_KVM, VM_KIND_PV, 3, 2400000, "mitigations=auto debug");
	const char *own = strstr(words, " mitigations=auto debug");

	(void)unused;
	assert_true(has(words, "tsc_early_khz=2400000"));
	/* Behind ours, which they overrule. */
	assert_true(own && own[strlen(" mitigations=auto debug")] == '\0' && strstr(words, "mitigations=off") < own);
	free(words);
}

static void test_bare(void **unused)
{
	char *words = words_of(VM_ENGINE_KVM, VM_KIND_PV, -1, 2400000, "console=hvc0");

	(void)unused;
	assert_string_equal(words, "console=hvc0");
	free(words);
	words = words_of(VM_ENGINE_QEMU, VM_KIND_VM, -1, 0, NULL);
	assert_string_equal(words, "");
	free(words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_own_words),
		cmocka_unit_test(test_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
