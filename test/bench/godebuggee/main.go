// The program of debuggee.c for a debugger that knows Go only: godebuggee IDLE HITTERS, the shared page as descriptor 3.
package main

import (
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// shared.h
type shared struct {
	ready, work uint32
	addresses   [7]uint64
	hitters     [64]struct {
		count uint64
		pad   [7]uint64
	}
}

const (
	workSleep = iota
	workSpin
	workSub
	workPush
	workVector
	workStretch
	workWatch
)

var (
	page    *shared
	watched uint64
	sink    uint64
)

//go:noinline
func toSub(n uint64) uint64 {
	return n + sink
}

func spin() {
	for n := uint64(0); atomic.LoadUint32(&page.work) == workSpin; n++ {
		sink = n
	}
}

func hit(who int) {
	runtime.LockOSThread()
	atomic.AddUint32(&page.ready, 1)
	for {
		switch atomic.LoadUint32(&page.work) {
		case workSpin:
			spin()
		case workSub:
			sink = toSub(uint64(who))
		case workWatch:
			watched++
		default:
			time.Sleep(5 * time.Millisecond)
		}
		page.hitters[who].count++
	}
}

func idle() {
	runtime.LockOSThread()
	atomic.AddUint32(&page.ready, 1)
	for {
		syscall.Syscall(syscall.SYS_PAUSE, 0, 0, 0)
	}
}

func main() {
	idlers, _ := strconv.Atoi(os.Args[1])
	hitters, _ := strconv.Atoi(os.Args[2])
	memory, err := syscall.Mmap(3, 0, int(unsafe.Sizeof(shared{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		os.Exit(1)
	}
	page = (*shared)(unsafe.Pointer(&memory[0]))
	for i := 0; i < idlers; i++ {
		go idle()
	}
	for i := 0; i < hitters; i++ {
		go hit(i)
	}
	select {}
}
