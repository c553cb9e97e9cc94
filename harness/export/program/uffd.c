
/* Write protection by userfaultfd. A write that it stops is a SIGBUS, so nobody need wait. */

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#define PAGEMAP_UFFD_WP 57

static int uffd = -1;

static void register_uffd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	struct uffdio_register window = {
		.range = { (unsigned long)base, l->places * PAGE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	if (l->backing == SHMEM)
		api.features |= UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
	if (l->unpopulated)
		api.features |= UFFD_FEATURE_WP_UNPOPULATED;
	uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	need(uffd >= 0, "userfaultfd");
	need(ioctl(uffd, UFFDIO_API, &api) == 0, "userfaultfd's write protection");
	need(ioctl(uffd, UFFDIO_REGISTER, &window) == 0, "UFFDIO_REGISTER");
}

static void write_protect(int first, int pages, int on)
{
	struct uffdio_writeprotect range = {
		.range = { (unsigned long)base + first * PAGE, pages * PAGE },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	need(ioctl(uffd, UFFDIO_WRITEPROTECT, &range) == 0, "UFFDIO_WRITEPROTECT");
}

/* A letter for each page that pagemap says userfaultfd protects. */
static void read_protected(char *row)
{
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), i;
	off_t at = (unsigned long)base / PAGE * 8;
	uint64_t entry = 0;

	for (i = 0; i < l->places; i++, at += 8) {
		need(file >= 0 && pread(file, &entry, 8, at) == 8, "/proc/self/pagemap");
		row[i] = entry >> PAGEMAP_UFFD_WP & 1 ? 'u' : '.';
	}
	row[i] = 0;
	close(file);
}
