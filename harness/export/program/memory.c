
/* The window: its memory, and how it is touched. */

static char *base;
static int fd = -1;

#define STOPPED (-1L) /* by userfaultfd */
#define DENIED (-2L)

static sigjmp_buf after_signal;

static void on_signal(int signal_number)
{
	siglongjmp(after_signal, signal_number);
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* Write one byte; the faults that it took, or what kept it from being written. */
static long poke(int place, char value)
{
	long before;

	switch (sigsetjmp(after_signal, 1)) {
	case SIGBUS:
		return STOPPED;
	case SIGSEGV:
		return DENIED;
	}
	before = faults();
	*(volatile char *)(base + place * PAGE) = value;
	return faults() - before;
}

static char peek(int place)
{
	return *(volatile char *)(base + place * PAGE);
}

static char content(int place)
{
	return l->pages[place] == 'z' ? 0 : 1 + place % 100;
}

static void fill(int place)
{
	if (poke(place, content(place)) < 0)
		skip("page %d cannot be written", place);
}

static void advise(int first, int pages, int advice, const char *what)
{
	need(madvise(base + first * PAGE, pages * PAGE, advice) == 0, what);
}

static void protect(int rights)
{
	need(mprotect(base + l->start * PAGE, (l->end - l->start) * PAGE, rights) == 0, "mprotect");
}

static void open_backing(unsigned long size)
{
	char name[] = "./mprotect-XXXXXX";

	if (l->backing == SHMEM) {
		fd = memfd_create("mprotect", MFD_CLOEXEC);
		need(fd >= 0, "memfd_create");
	} else {
		fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0) {
			fd = mkstemp(name);
			need(fd >= 0 && unlink(name) == 0, "a file in this directory");
		}
	}
	need(ftruncate(fd, size) == 0, "ftruncate");
}

/* One page more than the layout has is for trying things out. */
static void map_window(void)
{
	unsigned long size = (l->places + 1) * PAGE;
	int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS;
	char *room = mmap(NULL, size + 2 * ALIGNMENT, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	need(room != MAP_FAILED, "mmap");
	base = (char *)(((unsigned long)room + ALIGNMENT) & -ALIGNMENT);
	if (l->backing != PRIVATE) {
		open_backing(size);
		flags = MAP_FIXED | (l->backing == PRIVATE_FILE ? MAP_PRIVATE : MAP_SHARED);
	}
	need(mmap(base, size, PROT_READ | PROT_WRITE, flags, fd, 0) != MAP_FAILED, "mmap");
	advise(0, l->places, MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE");
}
