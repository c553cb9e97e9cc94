
/* What is seen of the call. */

#define WRITTEN 101

/* What is wrong; of that, writes that took a fault which they should not have taken. */
static int failed, faulted;

static void draw(const char *what, const char *row)
{
	printf("#   %-9s %s\n", what, row);
}

/* Two rows, and a third one that marks where they are not alike. */
static void compare(const char *what, const char *row, const char *seen)
{
	char marks[MAX_PLACES + 1];
	int i, wrong = 0;

	for (i = 0; i < l->places; i++) {
		int alike = row[i] == seen[i] ||
			    (row[i] == '?' && (seen[i] == 'w' || seen[i] == 'f'));

		marks[i] = alike ? ' ' : '^';
		wrong += !alike;
		faulted += row[i] == 'w' && seen[i] == 'f';
	}
	marks[i] = 0;
	draw(what, row);
	draw("seen", seen);
	if (wrong)
		draw("", marks);
	failed += wrong;
}

/* What a write to a page meets, as in `expected`; U: userfaultfd stops what was resolved. */
static char meets(int place)
{
	long took = poke(place, WRITTEN);

	if (took == DENIED)
		return '-';
	if (took != STOPPED)
		return took ? 'f' : 'w';
	if (!l->uffd)
		return 'B';
	write_protect(place, 1, 0);
	return poke(place, WRITTEN) == STOPPED ? 'U' : 'u';
}

static void look(void)
{
	char seen[MAX_PLACES + 1];
	int i;

	/* Registering, printing, forking: what this process itself still has to fault in. */
	poke(l->places, 1);
	poke(l->places, 1);
	for (i = 0; i < l->places; i++)
		seen[i] = l->expected[i] == '.' ? '.' : meets(i);
	seen[i] = 0;
	draw("pages", l->pages);
	compare("expected", l->expected, seen);
}

/* Each page must still be where it was. */
static void look_at_content(void)
{
	int i;

	for (i = l->start; i < l->end; i++) {
		if (l->pages[i] == '.' || peek(i) == content(i))
			continue;
		printf("#   page %d has another content\n", i);
		failed++;
	}
}

/* A write to a shared mapping is one to its file; one to a private mapping is not. */
static void look_at_file(void)
{
	char byte;
	int i;

	for (i = 0; i < l->places; i++) {
		if (!strchr("wf?u", l->expected[i]))
			continue;
		char kept = l->backing == PRIVATE_FILE ? content(i) : WRITTEN;

		if (l->pages[i] == 'a' || (pread(fd, &byte, 1, i * PAGE) == 1 && byte == kept))
			continue;
		printf("#   the file has another content at page %d\n", i);
		failed++;
	}
}

static void call(void)
{
	if (l->call == MPROTECT)
		protect(l->after);
	else
		write_protect(l->start, l->end - l->start, l->call == PROTECT);
}

static void run(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	char row[MAX_PLACES + 1];
	int i, wake = -1, status = 0;
	pid_t child = 0;

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	check_sizes();
	map_window();
	if (l->backing == PRIVATE) {
		build_private();
		child = share(&wake);
		if (l->uffd)
			register_uffd();
	} else if (l->backing == PRIVATE_FILE) {
		build_private_file();
		child = share(&wake);
	} else if (l->backing == SHMEM) {
		build_shmem();
	} else {
		build_regular();
	}
	for (i = 0; i < l->places; i++)
		if (l->stops[i] == 'u')
			write_protect(i, 1, 1);
	protect(l->before);
	if (l->uffd) {
		read_protected(row);
		if (strcmp(row, l->stops))
			skip("userfaultfd protects %s, not %s", row, l->stops);
	}

	/* What the TLB holds now must not outlive the call. */
	for (i = l->start; i < l->end && l->before & PROT_READ; i++)
		if (l->pages[i] != '.')
			peek(i);

	call();

	if (l->uffd) {
		read_protected(row);
		compare("protected", l->remains, row);
	}
	if (l->after & (PROT_READ | PROT_WRITE)) {
		look_at_content();
		look();
	} else {
		look();
		protect(PROT_READ);
		look_at_content();
	}
	if (child) {
		need(write(wake, "!", 1) == 1 && waitpid(child, &status, 0) == child, "the child");
		failed += !WIFEXITED(status) || WEXITSTATUS(status);
	}
	if (l->backing != PRIVATE)
		look_at_file();
}

static void __attribute__((noreturn)) run_in_child(int i, int tries)
{
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	/* Nothing here waits for long. */
	alarm(60);
	l = &layouts[i];
	number = i + 1;
	tries_left = tries;
	printf("# %s\n", l->name);
	run();
	if (failed && failed == faulted)
		try_again();
	printf("%sok %d %s\n", failed ? "not " : "", number, l->name);
	fflush(stdout);
	_exit(failed != 0);
}

/* The outcome of one layout, in a process of its own: 0 pass, 1 fail, 4 skip. */
static int try_layout(int i)
{
	int status = 0, tries;
	pid_t child;

	for (tries = 2;; tries--) {
		fflush(stdout);
		child = fork();
		if (!child)
			run_in_child(i, tries);
		if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
			printf("#   %s\n", child < 0 ? "no process for it" :
						       strsignal(WTERMSIG(status)));
			printf("not ok %d %s\n", i + 1, layouts[i].name);
			return 1;
		}
		if (WEXITSTATUS(status) != AGAIN)
			return WEXITSTATUS(status);
	}
}

int main(int argc, char **argv)
{
	int i, passed = 0, skipped = 0;

	printf("TAP version 13\n");
	if (sysconf(_SC_PAGESIZE) != (long)PAGE) {
		printf("1..0 # SKIP pages must have %lu bytes\n", PAGE);
		return 4;
	}
	atexit(restore);
	signal(SIGINT, restore_and_die);
	signal(SIGTERM, restore_and_die);
	for (i = 0; i < NR_LAYOUTS && argc > 1 && !strcmp(argv[1], "-e"); i++) {
		if (!enable_sizes(&layouts[i])) {
			printf("1..0 # SKIP another program has sizes of folios changed\n");
			return 4;
		}
	}
	printf("1..%d\n", NR_LAYOUTS);
	for (i = 0; i < NR_LAYOUTS; i++) {
		int outcome = try_layout(i);

		passed += outcome == 0;
		skipped += outcome == 4;
	}
	printf("# Totals: pass:%d fail:%d xfail:0 xpass:0 skip:%d error:0\n", passed,
	       NR_LAYOUTS - passed - skipped, skipped);
	if (passed + skipped < NR_LAYOUTS)
		return 1;
	return passed ? 0 : 4;
}
