
/* Sizes of folios: one setting for each, and for anonymous memory and shmem apart. */

static struct {
	char path[128], old[16];
} changed[32];
static int nr_changed;

/* Callable from a signal handler. */
static void restore(void)
{
	while (nr_changed) {
		const char *old = changed[--nr_changed].old;
		int file = open(changed[nr_changed].path, O_WRONLY);

		if (file >= 0) {
			if (write(file, old, strlen(old)) < 0)
				_exit(1);
			close(file);
		}
	}
}

static void restore_and_die(int signal_number)
{
	restore();
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* Whether settings decide about the folios of a layout, and not a file system. */
static int has_sizes(const struct layout *of)
{
	return of->backing == PRIVATE || of->backing == SHMEM;
}

static void name_setting(char *path, size_t size, const struct layout *of, int pages)
{
	snprintf(path, size, "/sys/kernel/mm/transparent_hugepage/hugepages-%lukB/%s",
		 pages * PAGE / 1024, of->backing == SHMEM ? "shmem_enabled" : "enabled");
}

/* The choice in the brackets of a setting; empty if there is no such setting. */
static void read_setting(const char *path, char *choice, size_t size)
{
	char text[128] = "", *from, *to;
	FILE *file = fopen(path, "r");

	*choice = 0;
	if (!file)
		return;
	if (fgets(text, sizeof(text), file) && (from = strchr(text, '[')) &&
	    (to = strchr(from, ']'))) {
		*to = 0;
		snprintf(choice, size, "%s", from + 1);
	}
	fclose(file);
}

static int is_enabled(const char *choice)
{
	return !strcmp(choice, "madvise") || !strcmp(choice, "advise") ||
	       !strcmp(choice, "always");
}

/* Whether nobody else has settings changed: who does holds this lock until they are back. */
static int hold_settings(void)
{
	static int directory = -1;

	if (directory < 0)
		directory = open("/sys/kernel/mm/transparent_hugepage", O_RDONLY | O_CLOEXEC);
	return directory < 0 || flock(directory, LOCK_EX | LOCK_NB) == 0;
}

/* Let the kernel make the large folios of a layout where that is advised; 0 if it is too early. */
static int enable_sizes(const struct layout *of)
{
	const struct folio *f;
	char path[128], old[16];

	for (f = of->larges; f->pages && has_sizes(of); f++) {
		FILE *file;

		name_setting(path, sizeof(path), of, f->pages);
		read_setting(path, old, sizeof(old));
		if (!*old || is_enabled(old))
			continue;
		if (!hold_settings())
			return 0;
		file = fopen(path, "w");
		if (!file)
			continue;
		memcpy(changed[nr_changed].path, path, sizeof(path));
		memcpy(changed[nr_changed++].old, old, sizeof(old));
		fputs(of->backing == SHMEM ? "advise" : "madvise", file);
		fclose(file);
	}
	return 1;
}

/* What is not enabled is found out before anything is built. */
static void check_sizes(void)
{
	const struct folio *f;
	char path[128], choice[16];

	for (f = l->larges; f->pages && has_sizes(l); f++) {
		name_setting(path, sizeof(path), l, f->pages);
		read_setting(path, choice, sizeof(choice));
		if (!*choice)
			skip("this kernel has no folios of %d pages: %s", f->pages, path);
		if (!is_enabled(choice))
			skip("%s is %s; -e enables it", path, choice);
	}
}
